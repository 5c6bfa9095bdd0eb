"""The descriptions of OpenCode 2's arguments."""

from __future__ import annotations

from collections.abc import Mapping

from opencode_mcp.catalog.annotations import parse_operation_ids
from opencode_mcp.catalog.listing import ArgumentDescriptions

LOCATION = "{directory}: absolute path; default: this server's."

COMMON: Mapping[str, str] = {
    "location": LOCATION,
    "sessionID": "From session_list.",
    "messageID": "From session_message_list.",
    "ptyID": "From pty_list.",
    "projectID": "From project_list.",
    "providerID": "Such as anthropic.",
    "integrationID": "From integration_list.",
    "credentialID": "From credential_list.",
    "attemptID": "From the call that started it.",
    "formID": "From form_list.",
    "requestID": "From permission_request_list.",
    "inboxID": "From session_inbox_list.",
    "methodID": "From integration_get.",
    "answer": "Answers to the method's form, by key.",
    "label": "Your name for it.",
}

ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "agent.get": {"agentID": "From agent_list."},
    "agent.list": {"full": "true: also prompts and permission rules (long)."},
    "credential.create": {"value": "{type: key, key: …}, for an API key.", "activate": "Default true."},
    "event.subscribe": {"timeout_seconds": "Seconds; default 10.", "max_events": "Most events to return; default 50."},
    "experimental.config.update": {"shell": "A name from config_shells; null: the default."},
    "experimental.fs.write": {"path": "Absolute, or relative to the location.", "body": "The content, as base64."},
    "experimental.generate.text": {"prompt": "The text.", "model": "Default: the configured one."},
    "experimental.mcp.add": {
        "name": "Your name for it.",
        "config": "How to reach it: local (command) or remote (url).",
    },
    "experimental.mcp.connect": {"name": "As in mcp_list."},
    "experimental.mcp.disconnect": {"name": "As in mcp_list."},
    "experimental.mcp.remove": {"name": "As in mcp_list."},
    "experimental.session.export": {"sanitize": "true: without private content."},
    "experimental.session.import": {"info": "As exported.", "messages": "As exported."},
    "experimental.session.instructions.entry.put": {
        "key": "Your name for the entry.",
        "value": "The text, or any JSON.",
    },
    "experimental.session.instructions.entry.remove": {"key": "The entry's name."},
    "experimental.session.skill": {"id": "From skill_list.", "resume": "false: do not go on working."},
    "experimental.session.wait": {"timeout_seconds": "Seconds; default 60."},
    "fs.find": {"query": "Part of the name or path.", "type": "Default: both.", "limit": "How many."},
    "fs.list": {"path": "Absolute, or relative to the location; default: its top."},
    "integration.connect.key": {"key": "The API key."},
    "integration.oauth.complete": {"code": "From the browser."},
    "model.list": {"full": "true: also limits, prices and settings (long)."},
    "permission.saved.list": {"projectID": "Only of this project."},
    "permission.saved.remove": {"id": "From permission_saved_list."},
    "permission.saved.update": {"id": "From permission_saved_list."},
    "plugin.check": {"target": "One plugin; default: all."},
    "plugin.update": {"targets": "Plugins, as in plugin_list."},
    "project.list": {"archived": "true: archived ones too."},
    "project.update": {
        "canonical": "Its main directory.",
        "name": "Shown name.",
        "icon": "url or color.",
        "commands": "start: run in each new worktree.",
    },
    "pty.create": {
        "command": "Program; default: the user's shell.",
        "args": "Its arguments.",
        "cwd": "Start folder; default: the project.",
        "title": "Shown in lists.",
        "env": "Variables to add.",
    },
    "pty.update": {"title": "The new title.", "size": "In characters."},
    "server.experimental.persistentPty.read": {"lines": "How many; default: what its screen shows."},
    "session.command": {"name": "From command_list, without /.", "text": 'What follows the command; "" for nothing.'},
    "session.compact": {"delivery": "queue: after the turn; default: at its next step."},
    "session.create": {
        "parentID": "Makes it a child of this session.",
        "title": "Default: generated from the first prompt.",
        "agent": "From agent_list.",
        "model": "id and providerID, as in model_list.",
        "metadata": "Any JSON, for yourself.",
        "location": "{directory}: absolute path; default: this server's.",
        "permissions": "Rules; the last match wins. All allowed: * for both, allow.",
    },
    "session.diff": {
        "from": "The user message of the turn; default: the newest.",
        "to": "The user message of a later turn.",
        "context": "Unchanged lines around a change; default: whole files.",
    },
    "session.environment": {"variables": "All variables; others are gone."},
    "session.fork": {"before": "The first message that is not copied; default: copy all."},
    "session.form.cancel": {"message": "For the model: why it is not answered."},
    "session.form.reply": {"answer": 'By the fields\' keys, such as {q0: "Blue"}.'},
    "session.inbox.update": {"delivery": "steer: at the next step; queue: after the turn."},
    "session.interrupt": {"resume": "true: go on with what waits in the inbox."},
    "session.list": {
        "limit": "Default 20.",
        "parentID": "Only its children; null: only sessions without a parent.",
        "directory": "Absolute path; default: this server's.",
        "project": "Of this project, by id, in all its directories.",
        "subpath": "Only below this folder of the project (relative).",
        "archived": "true: only archived ones; false: none.",
        "search": "Part of the title.",
        "cursor": "cursor.next of the last result.",
        "full": "true: all fields.",
    },
    "session.log": {
        "timeout_seconds": "Seconds; default 10.",
        "max_events": "Most events to return; default 50.",
        "follow": "true: go on with new events.",
    },
    "session.message.list": {
        "limit": "How many, at most 200.",
        "order": "asc: oldest first.",
        "cursor": "cursor.next of the last result, without order.",
    },
    "session.move": {"directory": "Absolute path of the new one.", "delivery": "queue: after the turn."},
    "session.permission.reply": {
        "decision": "always: all like it in the project, permanently.",
        "message": "With reject: what to do instead.",
    },
    "session.prompt": {
        "text": "The message.",
        "files": "Files to attach: file:// on the server, or data:.",
        "agents": "Agents that it mentions.",
        "skills": "Skills to use.",
        "delivery": "While it runs: steer (default; at its next step) or queue (after the turn).",
        "resume": "false: only store it in the inbox.",
    },
    "session.revert.stage": {"files": "true: undo the file changes too."},
    "session.shell": {"command": "The command line."},
    "session.switchAgent": {"agent": "From agent_list."},
    "session.switchModel": {"model": "id and providerID, as in model_list."},
    "session.update": {
        "title": "The new name.",
        "metadata": "Replaces all metadata.",
        "permissions": "Rules; the last match wins.",
        "archived": "true: archive it.",
    },
    "session.view": {"idle": "The session's time.idle."},
    "shell.create": {
        "command": "The command line.",
        "cwd": "Folder; default: the project.",
        "timeout": "Milliseconds.",
    },
    "shell.get": {"id": "From shell_create."},
    "shell.output": {"id": "From shell_create.", "cursor": "Byte to start at.", "limit": "Most bytes."},
    "shell.remove": {"id": "From shell_create."},
    "vcs.branch.list": {"search": "Part of the name.", "limit": "How many."},
    "vcs.diff": {
        "mode": "working: uncommitted; branch: all since `base`; committed: without uncommitted ones.",
        "base": "Default: vcs_base's.",
        "context": "Unchanged lines around a change.",
    },
    "websearch.query": {"query": "What to search for.", "providerID": "From websearch_providers; default: configured."},
    "worktree.create": {
        "from": "A working tree of the project, whose commit it starts from.",
        "branch": "Name of the new branch.",
        "directory": "Where; default: OpenCode's data folder.",
        "name": "Its name; default: generated.",
    },
    "worktree.remove": {"directory": "From worktree_list.", "force": "true: with uncommitted changes."},
}
"""By operationId, the descriptions of an operation's arguments."""

WITH_COMMON_ARGUMENTS = parse_operation_ids("""
    command.list config.get credential.activate credential.remove credential.update
    debug.location.evict experimental.session.instructions.entry.list
    form.list fs.read integration.command.cancel integration.command.connect integration.command.status
    integration.connect.external integration.get integration.list
    integration.oauth.cancel integration.oauth.connect integration.oauth.status
    location.get mcp.list mcp.resource.catalog model.default permission.request.list plugin.list
    provider.get provider.list pty.connect.token pty.get pty.list pty.remove reference.list
    session.background session.context session.form.get session.form.list session.get session.inbox.cancel
    session.inbox.list session.message.get session.permission.get session.permission.list session.remove
    session.revert.clear session.revert.commit shell.list skill.list
    vcs.base vcs.get vcs.init vcs.status websearch.providers worktree.list worktree.refresh
""")
"""Operations with no other arguments than those of `COMMON`, or than those that the document describes."""

ARGUMENT_DESCRIPTIONS = ArgumentDescriptions(COMMON, ARGUMENTS, WITH_COMMON_ARGUMENTS)
