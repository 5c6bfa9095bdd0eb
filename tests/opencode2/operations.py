"""The operations that the fake plays, by operationId."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from . import location_operations as locations
from . import request_operations as requests
from . import session_operations as sessions
from .calls import OperationCall

Handler = Callable[[OperationCall], Any | Awaitable[Any]]

OPERATIONS: Mapping[str, Handler] = {
    "server.info": locations.info,
    "location.get": locations.get_location,
    "location.reload": locations.reload,
    "agent.list": locations.list_agents,
    "model.list": locations.list_models,
    "model.default": locations.default_model,
    "provider.list": locations.list_providers,
    "config.get": locations.get_config,
    "command.list": locations.list_nothing,
    "skill.list": locations.list_nothing,
    "mcp.list": locations.list_nothing,
    "project.list": locations.list_projects,
    "fs.read": locations.read_file,
    "fs.list": locations.list_files,
    "fs.find": locations.find_files,
    "worktree.list": locations.list_worktrees,
    "worktree.create": locations.create_worktree,
    "worktree.remove": locations.remove_worktree,
    "vcs.get": locations.get_vcs,
    "vcs.diff": locations.diff_working,
    "vcs.status": locations.status_working,
    "session.create": sessions.create,
    "session.get": sessions.get,
    "session.list": sessions.list_sessions,
    "session.active": sessions.active,
    "session.update": sessions.update,
    "session.remove": sessions.remove,
    "session.switchAgent": sessions.switch_agent,
    "session.switchModel": sessions.switch_model,
    "session.prompt": sessions.prompt,
    "session.synthetic": sessions.synthetic,
    "session.compact": sessions.compact,
    "session.inbox.list": sessions.list_inbox,
    "session.inbox.cancel": sessions.cancel_inbox,
    "session.inbox.update": sessions.update_inbox,
    "session.interrupt": sessions.interrupt,
    "session.background": sessions.background,
    "experimental.session.wait": sessions.wait,
    "session.message.list": sessions.list_messages,
    "session.message.get": sessions.get_message,
    "session.context": sessions.context,
    "session.diff": sessions.diff,
    "session.fork": sessions.fork,
    "session.revert.stage": sessions.stage_revert,
    "session.revert.clear": sessions.clear_revert,
    "session.revert.commit": sessions.commit_revert,
    "session.view": sessions.view,
    "session.environment": sessions.environment,
    "experimental.session.instructions.entry.list": sessions.list_instructions,
    "experimental.session.instructions.entry.put": sessions.put_instruction,
    "experimental.session.instructions.entry.remove": sessions.remove_instruction,
    "session.permission.list": requests.list_permissions,
    "session.permission.get": requests.get_permission,
    "session.permission.reply": requests.reply_permission,
    "session.permission.create": requests.create_permission,
    "permission.request.list": requests.list_requests,
    "permission.saved.list": requests.list_saved,
    "permission.saved.remove": requests.remove_saved,
    "session.form.list": requests.list_session_forms,
    "session.form.get": requests.get_form,
    "session.form.create": requests.create_form,
    "session.form.reply": requests.reply_form,
    "session.form.cancel": requests.cancel_form,
    "form.list": requests.list_forms,
    "session.shell": requests.run_session_shell,
    "shell.create": requests.create_shell,
    "shell.get": requests.get_shell,
    "shell.list": requests.list_shells,
    "shell.output": requests.read_shell,
    "shell.remove": requests.remove_shell,
}
"""Any other operation of the document is 500 UnknownError, and noted as not played."""

STREAMS = {"event.subscribe", "session.log"}
