"""Operations that take a directory but work without a project: only the project's configuration may change their
result."""

from __future__ import annotations

from .hints import parse_operation_ids

WITHOUT_PROJECT = parse_operation_ids("""
    app.agents app.log app.skills command.list config.get config.providers
    experimental.capabilities.get
    experimental.console.get experimental.console.listOrgs experimental.console.switchOrg
    experimental.resource.list
    experimental.session.list  # of all projects
    mcp.add mcp.auth.authenticate mcp.auth.callback mcp.auth.remove mcp.auth.start
    mcp.connect mcp.disconnect mcp.status
    project.list
    provider.auth provider.list provider.oauth.authorize provider.oauth.callback
    pty.shells
    sync.history.list
    tool.ids tool.list

    v2.agent.list v2.command.list v2.credential.remove v2.credential.update
    v2.integration.attempt.cancel v2.integration.attempt.complete v2.integration.attempt.status
    v2.integration.connect.key v2.integration.connect.oauth v2.integration.get v2.integration.list
    v2.model.list v2.provider.get v2.provider.list v2.session.list v2.skill.list
""")
