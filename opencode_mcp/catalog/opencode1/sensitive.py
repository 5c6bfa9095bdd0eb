"""What the responses of OpenCode 1 describe, observed on 1.18.33."""

from __future__ import annotations

from opencode_mcp.catalog.annotations import parse_operation_ids
from opencode_mcp.redaction.structure import Position

OPERATIONS_BY_POSITION = {
    Position.CONFIG: parse_operation_ids("""
        app.agents v2.agent.list  # `options` go to the provider's SDK
        config.get config.update global.config.get global.config.update
        config.providers provider.list v2.provider.get v2.provider.list v2.model.list
        experimental.console.get
        experimental.workspace.create experimental.workspace.list experimental.workspace.remove  # `extra`: an adapter's
        formatter.status lsp.status
        mcp.auth.authenticate mcp.auth.callback  # a status, whose error quotes the server's URL
        pty.create pty.get pty.list pty.update
        v2.integration.get v2.integration.list
        v2.pty.create v2.pty.get v2.pty.list v2.pty.update
    """),
    Position.NAMES: parse_operation_ids("""
        mcp.add mcp.status  # by the server's name
        provider.auth  # by the provider's id
    """),
    Position.EVENTS: parse_operation_ids("""
        event.subscribe global.event v2.event.subscribe v2.session.events
        sync.history.list
    """),
    Position.MESSAGES: parse_operation_ids("""
        part.update
        session.command session.message session.messages session.prompt session.shell
        v2.session.context v2.session.history v2.session.message v2.session.messages
    """),
    Position.IDENTIFIER: parse_operation_ids("""
        find.files tool.ids worktree.list  # a list of paths, names, directories
    """),
    Position.CONTENT: parse_operation_ids("""
        command.list  # templates
        mcp.auth.start provider.oauth.authorize  # the user opens their URL, which works only as a whole
        project.current project.initGit project.list project.update  # `commands` are scripts of the project
        pty.connectToken v2.pty.connectToken  # the ticket is for the next call
        question.list v2.question.request.list v2.session.question.list  # `options` are what a user can choose
        tool.list  # schemas of arguments
        v2.integration.connect.oauth v2.integration.attempt.status  # as provider.oauth.authorize
    """),
}
"""The operations by the position of their whole response."""
