/*
 * MCP TypeScript SDK: a client without a model that has OpenCode do a task.
 *
 * npm install @modelcontextprotocol/sdk
 * node typescript_sdk.mjs PROJECT PROMPT
 */
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const [project, prompt] = process.argv.slice(2);
const transport = new StdioClientTransport({
  command: "opencode-mcp",
  args: ["--directory", project, "--toolsets", "essential"],
  env: process.env,
});
const client = new Client({ name: "delegator", version: "1.0.0" });
await client.connect(transport);

const call = { name: "run_task", arguments: { prompt, permissions: "allow", timeout_seconds: 3600 } };
// Its default is 60 seconds for every request, and a task takes longer.
const options = { timeout: 3_600_000, onprogress: ({ message }) => console.error(message) };
const result = await client.callTool(call, undefined, options);
console.log(result.structuredContent?.state ?? result.content[0].text);
await client.close();
