"""The scopes and locations of OpenCode 2, by what its document says."""

from __future__ import annotations

from collections.abc import Mapping

from opencode_mcp.catalog.annotations import parse_operation_ids
from opencode_mcp.catalog.scopes import ArgumentKind, Scopes, parse_argument_names

ALL_DIRECTORIES = parse_operation_ids("""
    debug.location.list event.subscribe experimental.session.stats location.reload project.list session.active
    experimental.config.update
    permission.saved.remove permission.saved.update  # the id does not show the project
    rpc.call  # what a plugin does with its input is not known
    server.experimental.persistentPty.connectToken server.experimental.persistentPty.get  # nor does a terminal's id
    server.experimental.persistentPty.handoff server.experimental.persistentPty.remove
    server.experimental.persistentPty.shutdown server.experimental.persistentPty.snapshot
    server.experimental.persistentPty.update
""")

NO_DIRECTORY = parse_operation_ids("""
    config.shells
    credential.activate credential.create credential.list credential.remove credential.update
    experimental.generate.text experimental.migration.v1.status experimental.voice.session
    server.connect server.info server.pair
""")

ONE_DIRECTORY = parse_operation_ids("""
    agent.get agent.list command.list config.get
    debug.location.evict
    experimental.fs.write
    experimental.integration.wellknown.add
    experimental.mcp.add experimental.mcp.connect experimental.mcp.disconnect experimental.mcp.remove
    experimental.session.export experimental.session.import
    experimental.session.instructions.entry.list experimental.session.instructions.entry.put
    experimental.session.instructions.entry.remove
    experimental.session.skill experimental.session.wait
    form.list fs.find fs.list fs.read
    integration.command.cancel integration.command.connect integration.command.status
    integration.connect.external integration.connect.key integration.get integration.list
    integration.oauth.cancel integration.oauth.complete integration.oauth.connect integration.oauth.status
    location.get mcp.list mcp.resource.catalog model.default model.list
    permission.request.list permission.saved.list
    plugin.check plugin.list plugin.update
    project.update
    provider.get provider.list
    pty.connect.token pty.create pty.get pty.list pty.remove pty.update
    reference.list
    server.experimental.persistentPty.create server.experimental.persistentPty.list
    server.experimental.persistentPty.read
    session.background session.command session.compact session.context session.create session.diff
    session.environment session.fork session.form.cancel session.form.create session.form.get session.form.list
    session.form.reply session.generate session.get session.inbox.cancel session.inbox.list session.inbox.update
    session.interrupt session.list session.log session.message.get session.message.list session.move
    session.permission.create session.permission.get session.permission.list session.permission.reply
    session.prompt session.remove session.revert.clear session.revert.commit session.revert.stage session.shell
    session.switchAgent session.switchModel session.synthetic session.update session.view
    shell.create shell.get shell.list shell.output shell.remove
    skill.list
    vcs.base vcs.branch.list vcs.diff vcs.get vcs.init vcs.status
    websearch.providers websearch.query
    worktree.create worktree.list worktree.refresh worktree.remove
""")

FILTERED_LISTS = parse_operation_ids("""
    session.list  # `project` lists those of every directory of it, and a `cursor` may do so too
""")

WITHOUT_PROJECT = parse_operation_ids("""
    agent.get agent.list command.list config.get
    experimental.integration.wellknown.add
    experimental.mcp.add experimental.mcp.connect experimental.mcp.disconnect experimental.mcp.remove
    integration.command.cancel integration.command.connect integration.command.status
    integration.connect.external integration.connect.key integration.get integration.list
    integration.oauth.cancel integration.oauth.complete integration.oauth.connect integration.oauth.status
    mcp.list mcp.resource.catalog model.default model.list
    plugin.check plugin.list plugin.update
    provider.get provider.list session.list skill.list
    websearch.providers websearch.query
""")

ARGUMENTS_BY_KIND: Mapping[ArgumentKind, frozenset[str]] = {
    "directory": parse_argument_names("directory cwd canonical"),
    "path": parse_argument_names("path subpath"),
    "url": parse_argument_names("url uri"),
    "session": parse_argument_names("sessionID parentID"),
    "project": parse_argument_names("projectID"),
    "id": parse_argument_names("id"),
}

KIND_EXCEPTIONS: Mapping[tuple[str, str], ArgumentKind | None] = {
    ("session.command", "text"): "mentions",  # as in OpenCode 1; whether it still attaches them is not known
    ("experimental.session.skill", "id"): None,
    ("session.list", "parentID"): None,  # also the word null; the list is filtered
    ("worktree.create", "from"): "directory",  # the new worktree has its files
    ("worktree.create", "name"): "path",  # part of the directory's name
}

NOT_LOCATIONS = parse_argument_names("""
    cursor project scope search  # filter what an operation of FILTERED_LISTS returns
    access action activate additions after agent agentID agents answer archived args attachmentID attemptID
    auth_server_metadata_url base before body boundary branch cache callback_port catalog client_id client_secret
    code codemode color cols command commands config context cost created credentialID custom dcid decision
    default deletions delivery description disabled effect end env environment execution expires fields file files
    follow force fork formID format from full headers hidden icon idle inboxID info input integrationID key
    label limit lines location max_events maxItems maxLength maximum mention message messageID messages metadata
    method methodID minItems minLength minimum mode model name oauth op options order outcome output override partID
    patch pattern permissions placeholder prompt protocol provider providerID ptyID query read reasoning redirect_uri
    refresh requestID required resource resources resume revert rows rpcID sanitize save sdp session shell
    size skills snapshot source start startup status target targets text time timeout timeout_seconds timezone title
    to tokens tools transport type types updated value variables variant viewed when write
""")

SCOPES = Scopes(
    all_directories=ALL_DIRECTORIES,
    no_directory=NO_DIRECTORY,
    one_directory=ONE_DIRECTORY,
    filtered_lists=FILTERED_LISTS,
    loads_nothing=parse_operation_ids("session.list"),
    new_sessions=parse_operation_ids("experimental.session.import session.create"),
    without_project=WITHOUT_PROJECT,
    required_argument={"permission.saved.list": "projectID"},
    arguments_by_kind=ARGUMENTS_BY_KIND,
    kind_exceptions=KIND_EXCEPTIONS,
    not_locations=NOT_LOCATIONS,
)
