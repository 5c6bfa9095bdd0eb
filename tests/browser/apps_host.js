// A client with MCP Apps, as small as one can be: it calls a tool, and shows the tool's app in a sandboxed frame.
// `options` in the page's query: {tool, arguments, theme, variables, serverTools}.
import {AppBridge, PostMessageTransport} from "@modelcontextprotocol/ext-apps/app-bridge"

const options = JSON.parse(new URLSearchParams(location.search).get("options"))

const post = async (path, body) => {
  const answer = await (await fetch(path, {method: "POST", body: JSON.stringify(body)})).json()
  if (answer.error) throw new Error(answer.error)
  return answer
}

const frame = document.querySelector("iframe")
const app = await post("/app", {tool: options.tool})
const capabilities = {openLinks: {}, logging: {}, ...(options.serverTools ? {serverTools: {}} : {})}
const hostContext = {
  theme: options.theme,
  displayMode: "inline",
  styles: {variables: options.variables},
  containerDimensions: {maxHeight: 800},
  locale: "en-GB",
}
const bridge = new AppBridge(null, {name: "test-client", version: "1"}, capabilities, {hostContext})
if (options.serverTools) bridge.oncalltool = (params) => post("/call", params)
bridge.onsizechange = ({height}) => {
  if (height) frame.style.height = `${Math.min(height, 800)}px`
}
bridge.oninitialized = async () => {
  await bridge.sendToolInput({arguments: options.arguments})
  await bridge.sendToolResult(await post("/first-call", {name: options.tool, arguments: options.arguments}))
  document.body.dataset.shown = bridge.getAppVersion().name
}
window.setTheme = (theme) => bridge.setHostContext({...hostContext, theme})
window.tearDown = async () => {
  await bridge.teardownResource({})
  return true
}
await bridge.connect(new PostMessageTransport(frame.contentWindow, frame.contentWindow))
frame.srcdoc = app.html
