"""What the responses of OpenCode 2 describe, by its document. `credential.list` has keys in clear, and `provider.list`
of OpenCode 1.18.33's v2 API had."""

from __future__ import annotations

from opencode_mcp.catalog.annotations import parse_operation_ids
from opencode_mcp.redaction.structure import Position

OPERATIONS_BY_POSITION = {
    Position.CONFIG: parse_operation_ids("""
        agent.get agent.list  # `request` goes to the provider
        config.get
        credential.create credential.list
        experimental.voice.session server.connect  # a token
        integration.get integration.list
        mcp.list  # a status, whose error can quote the server's URL
        model.default model.list provider.get provider.list
        pty.create pty.get pty.list pty.update
        rpc.call  # whatever a plugin returns
        server.experimental.persistentPty.create server.experimental.persistentPty.get
        server.experimental.persistentPty.list server.experimental.persistentPty.snapshot
        server.experimental.persistentPty.update
        shell.create shell.get shell.list
    """),
    Position.EVENTS: parse_operation_ids("event.subscribe session.log"),
    Position.MESSAGES: parse_operation_ids("""
        experimental.session.export session.context session.message.get session.message.list
    """),
    Position.CONTENT: parse_operation_ids("""
        experimental.session.instructions.entry.list  # `key` is a name
        form.list session.form.create session.form.get session.form.list  # `options` are what a user can choose
        integration.command.connect integration.command.status integration.oauth.connect integration.oauth.status
        pty.connect.token server.experimental.persistentPty.connectToken  # the ticket is for the next call
        server.pair  # as is the code
    """),
}
