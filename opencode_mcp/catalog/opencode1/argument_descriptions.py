"""The descriptions of OpenCode 1's arguments."""

from __future__ import annotations

from collections.abc import Mapping

from opencode_mcp.catalog.annotations import parse_operation_ids
from opencode_mcp.catalog.listing import ArgumentDescriptions

COMMON: Mapping[str, str] = {
    "directory": "Absolute path.",
    "sessionID": "From session_list.",
    "messageID": "From session_messages.",
    "partID": "From session_messages.",
    "ptyID": "From pty_list.",
    "providerID": "Such as anthropic.",
    "projectID": "From project_list.",
}
"""By argument: its description in the operations of the other two tables, unless `ARGUMENTS` has another."""

ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "app.agents": {
        "directory": "Absolute path; default: this server's.",
        "full": "true: also prompts and permission rules (long).",
    },
    "app.log": {
        "service": "Who logs.",
        "level": "How severe.",
        "message": "The text.",
        "extra": "More fields.",
    },
    "auth.set": {"body": "Mostly {type: api, key: …}."},
    "config.providers": {
        "directory": "Absolute path; default: this server's.",
        "full": "true: also limits, prices and options (long).",
    },
    "config.update": {
        "body": "Fields to set, as in opencode.json: model, agent, permission, mcp, … (all: describe_operation, full)."
    },
    "event.subscribe": {"timeout_seconds": "Seconds; default 10.", "max_events": "Most events to return; default 50."},
    "experimental.controlPlane.moveSession": {
        "destination": "directory: another one of the same project.",
        "moveChanges": "true: take uncommitted changes along. Default false.",
    },
    "experimental.session.list": {
        "directory": "Only of this directory.",
        "roots": "true: without subagents' sessions.",
        "start": "Only those updated since: Unix time in ms.",
        "cursor": "next_cursor of the last result.",
        "search": "Part of the title.",
        "limit": "Default 20.",
        "full": "true: all fields.",
        "archived": "true: archived ones too. Default false.",
    },
    "file.list": {"path": "Relative to the project; . is its top."},
    "file.read": {
        "directory": "Absolute path; default: this server's.",
        "path": "Relative to the project, or absolute within it.",
    },
    "find.files": {
        "query": "Part of the name or path.",
        "dirs": "false: only files.",
        "type": "Default: both.",
        "limit": "Default 10.",
    },
    "find.symbols": {"query": "Part of the name."},
    "find.text": {
        "directory": "Absolute path; default: this server's.",
        "pattern": "For ripgrep, such as total|sum.",
    },
    "global.config.update": {
        "body": "Fields to set, as in opencode.json: model, agent, permission, mcp, … (describe_operation: all)."
    },
    "global.event": {"timeout_seconds": "Seconds; default 10.", "max_events": "Most events to return; default 50."},
    "mcp.add": {"name": "Your name for it.", "config": "How to reach it: local (command) or remote (url)."},
    "mcp.auth.authenticate": {"name": "As in mcp_status.", "timeout_seconds": "Default 300."},
    "mcp.auth.callback": {"name": "As in mcp_status.", "code": "From the browser's redirect."},
    "mcp.auth.remove": {"name": "As in mcp_status."},
    "mcp.auth.start": {"name": "As in mcp_status."},
    "mcp.connect": {"name": "As in mcp_status."},
    "mcp.disconnect": {"name": "As in mcp_status."},
    "part.update": {"body": "The whole part, as session_messages has it, with its ids."},
    "permission.list": {"directory": "The session's."},
    "permission.reply": {
        "requestID": "From permission_list.",
        "directory": "The session's.",
        "reply": "always: all like it in all sessions, until OpenCode exits.",
        "message": "With reject: what to do instead.",
    },
    "project.update": {"name": "Shown name.", "icon": "url or color.", "commands": "start: run in each new worktree."},
    "provider.oauth.authorize": {
        "method": "Index in provider_auth's list.",
        "inputs": "Answers to the method's prompts, by key.",
    },
    "provider.oauth.callback": {
        "method": "As in provider_oauth_authorize.",
        "code": "From the browser, if the method is code.",
    },
    "pty.connect": {
        "cursor": "The last result's cursor; default 0: all again; -1: only new.",
        "ticket": "Not needed here.",
        "timeout_seconds": "Seconds; default 10.",
        "max_chars": "Of output; default 20000.",
    },
    "pty.create": {
        "command": "Program; default: the user's shell.",
        "args": "Its arguments.",
        "cwd": "Start folder; default: the project.",
        "title": "Shown in lists.",
        "env": "Variables to add.",
    },
    "pty.update": {"title": "The new title.", "size": "In characters."},
    "question.list": {"directory": "The session's."},
    "question.reject": {"requestID": "From question_list.", "directory": "The session's."},
    "question.reply": {
        "requestID": "From question_list.",
        "directory": "The session's.",
        "answers": 'A list per question, of chosen labels or free text: [["Blue"]].',
    },
    "session.command": {
        "messageID": "New id, msg_…; usually omitted.",
        "agent": "Unless the command has its own.",
        "model": "provider/model; unless the command has its own.",
        "arguments": 'What follows the command; "" for nothing.',
        "command": "A name from command_list, without /.",
        "variant": "One of the model's variants.",
        "parts": "Files to attach.",
    },
    "session.create": {
        "parentID": "Makes it a child of this session.",
        "title": "Default: generated from the first prompt.",
        "agent": "From app_agents; session_prompt does not use it.",
        "model": "providerID and the model's id, as in config_providers.",
        "metadata": "Any JSON, for yourself.",
        "permission": "Rules; the last match wins. All allowed: * for both, allow.",
        "workspaceID": "wrk_…; experimental.",
    },
    "session.diff": {"messageID": "Of the user message; from session_messages."},
    "session.fork": {"messageID": "The first that is not copied; default: copy all."},
    "session.init": {
        "modelID": "As in config_providers.",
        "providerID": "As in config_providers.",
        "messageID": "A new id for its prompt, msg_….",
    },
    "session.list": {
        "directory": "Absolute path; default: this server's.",
        "scope": "directory: without its worktrees' sessions.",
        "path": "Only sessions below this folder of the project (relative).",
        "roots": "true: without subagents' sessions.",
        "start": "Only those updated since: Unix time in ms.",
        "search": "Part of the title.",
        "limit": "Default 20.",
        "full": "true: all fields.",
    },
    "session.messages": {
        "limit": "How many, the newest ones; default: all.",
        "before": "next_cursor of the last result.",
    },
    "session.prompt": {
        "messageID": "New id, msg_…; usually omitted.",
        "model": "Default: the agent's or session's.",
        "agent": "From app_agents; default: OpenCode's, such as build.",
        "noReply": "true: only store the message. Default false.",
        "tools": "{name: false} turns a tool off; replaces the session's permission rules.",
        "format": "json_schema: the reply is JSON, in info.structured.",
        "system": "Added to the system prompt.",
        "variant": "One of the model's variants, such as high.",
        "parts": "The message, mostly [{type: text, text: …}].",
    },
    "session.prompt_async": {
        "messageID": "New id, msg_…; usually omitted.",
        "model": "Default: the agent's or session's.",
        "agent": "From app_agents; default: OpenCode's, such as build.",
        "noReply": "true: only store the message. Default false.",
        "tools": "{name: false} turns a tool off; replaces the session's permission rules.",
        "format": "As in session_prompt.",
        "system": "Added to the system prompt.",
        "variant": "One of the model's variants, such as high.",
        "parts": "As in session_prompt.",
    },
    "session.revert": {"messageID": "The user's, from read_transcript.", "partID": "Undo from this part on."},
    "session.shell": {
        "messageID": "New id, msg_…; usually omitted.",
        "agent": "Such as build.",
        "model": "Default: the agent's or session's.",
        "command": "The command line.",
    },
    "session.summarize": {
        "providerID": "Of the model that summarizes, such as session_get's.",
        "modelID": "Of the same model.",
        "auto": "true: then go on working. Default false.",
    },
    "session.update": {
        "title": "The new name.",
        "metadata": "Replaces all metadata.",
        "permission": "Rules to append; the last match wins.",
        "time": "archived: when, as Unix time in ms.",
    },
    "sync.history.list": {"body": "{session id: last known seq}; default {}: all."},
    "sync.replay": {"body": "One session's events in order, as sync_history_list gives them."},
    "sync.steal": {"workspace": "The new owner, from experimental_workspace_list."},
    "tool.list": {"provider": "Such as anthropic.", "model": "Its model id; unknown ones are accepted."},
    "vcs.apply": {"patch": "A unified diff, such as vcs_diff_raw's."},
    "vcs.diff": {
        "mode": "git: uncommitted changes; branch: all since the default branch.",
        "context": "Unchanged lines around a change.",
    },
    "worktree.create": {
        "name": "Of worktree and branch; default: generated.",
        "startCommand": "Run in it after the project's start command.",
    },
    "worktree.remove": {"directory": "The project's.", "body": "directory: the worktree's path, from worktree_list."},
    "worktree.reset": {"directory": "The project's.", "body": "directory: the worktree's path, from worktree_list."},
}
"""By operationId, the descriptions of an operation's arguments."""

WITH_COMMON_ARGUMENTS = parse_operation_ids("""
    app.skills auth.remove command.list config.get experimental.resource.list experimental.session.background
    file.status formatter.status global.config.get global.dispose global.health instance.dispose lsp.status
    mcp.status part.delete path.get project.current project.directories project.initGit project.list provider.auth
    provider.list pty.connectToken pty.get pty.list pty.remove pty.shells session.abort session.children
    session.delete session.deleteMessage session.get session.message session.share session.status session.todo
    session.unrevert session.unshare sync.start tool.ids vcs.diff.raw vcs.get vcs.status worktree.list
""")
"""Operations with no other arguments than those of `COMMON`."""


ARGUMENT_DESCRIPTIONS = ArgumentDescriptions(COMMON, ARGUMENTS, WITH_COMMON_ARGUMENTS)
