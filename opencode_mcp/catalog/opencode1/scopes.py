"""The scopes and locations of OpenCode 1. Comments give the reason for surprising entries, measured on 1.18.33."""

from __future__ import annotations

from collections.abc import Mapping

from opencode_mcp.catalog.annotations import parse_operation_ids
from opencode_mcp.catalog.scopes import ArgumentKind, Scopes, parse_argument_names

ALL_DIRECTORIES = parse_operation_ids("""
    experimental.session.list global.event project.list
    sync.history.list v2.event.subscribe  # whatever `directory` is given
    global.config.update global.dispose global.upgrade
    sync.replay  # writes events of any session
    tui.control.next tui.control.response  # one queue for the server
    v2.permission.saved.remove  # its id does not show the project
    v2.session.active
""")
"""Read or change what belongs to every directory."""

NO_DIRECTORY = parse_operation_ids("""
    auth.remove auth.set
    global.config.get
    global.health v2.health.get
""")
"""Affect no directory."""

ONE_DIRECTORY = parse_operation_ids("""
    app.agents app.log app.skills
    command.list
    config.get config.providers config.update
    event.subscribe
    experimental.capabilities.get
    experimental.console.get experimental.console.listOrgs experimental.console.switchOrg
    experimental.controlPlane.moveSession
    experimental.projectCopy.generateName
    experimental.resource.list
    experimental.session.background
    experimental.workspace.adapter.list experimental.workspace.create experimental.workspace.list
    experimental.workspace.remove experimental.workspace.status experimental.workspace.syncList
    experimental.workspace.warp
    file.list file.read file.status
    find.files find.symbols find.text
    formatter.status
    instance.dispose
    lsp.status
    mcp.add mcp.auth.authenticate mcp.auth.callback mcp.auth.remove mcp.auth.start mcp.connect mcp.disconnect
    mcp.status
    part.delete part.update
    path.get
    permission.list permission.reply permission.respond
    project.current project.directories project.initGit project.update
    provider.auth provider.list provider.oauth.authorize provider.oauth.callback
    pty.connect pty.connectToken pty.create pty.get pty.list pty.remove pty.shells pty.update
    question.list question.reject question.reply
    session.abort session.children session.command session.create session.delete session.deleteMessage
    session.diff session.fork session.get session.init session.list session.message session.messages
    session.prompt session.prompt_async session.revert session.share session.shell session.status
    session.summarize session.todo session.unrevert session.unshare session.update
    sync.start sync.steal
    tool.ids tool.list
    tui.appendPrompt tui.clearPrompt tui.executeCommand tui.openHelp tui.openModels tui.openSessions
    tui.openThemes tui.publish tui.selectSession tui.showToast tui.submitPrompt
    v2.agent.list
    v2.command.list
    v2.credential.remove v2.credential.update
    v2.fs.find v2.fs.list v2.fs.read
    v2.integration.attempt.cancel v2.integration.attempt.complete v2.integration.attempt.status
    v2.integration.connect.key v2.integration.connect.oauth v2.integration.get v2.integration.list
    v2.location.get
    v2.model.list
    v2.permission.request.list v2.permission.saved.list
    v2.projectCopy.create v2.projectCopy.refresh v2.projectCopy.remove
    v2.provider.get v2.provider.list
    v2.pty.connect v2.pty.connectToken v2.pty.create v2.pty.get v2.pty.list v2.pty.remove v2.pty.update
    v2.question.request.list
    v2.reference.list
    v2.session.compact v2.session.context v2.session.create v2.session.events v2.session.get
    v2.session.history v2.session.interrupt v2.session.list v2.session.message v2.session.messages
    v2.session.permission.create v2.session.permission.get v2.session.permission.list
    v2.session.permission.reply v2.session.prompt v2.session.question.list v2.session.question.reject
    v2.session.question.reply v2.session.revert.clear v2.session.revert.commit v2.session.revert.stage
    v2.session.switchAgent v2.session.switchModel v2.session.wait
    v2.skill.list
    vcs.apply vcs.diff vcs.diff.raw vcs.get vcs.status
    worktree.create worktree.list worktree.remove worktree.reset
""")
"""Read or change what belongs to one directory."""

FILTERED_LISTS = parse_operation_ids("""
    experimental.session.list
    session.children  # a child can work elsewhere
    session.list  # `scope` and `path` list the sessions of every directory of the project
    v2.session.list  # `project` does so too, and a `cursor` is JSON that names any directory
""")
"""Return a list of sessions, from which those outside of the allowlist are removed."""

REQUIRED_ARGUMENT: Mapping[str, str] = {"v2.permission.saved.list": "projectID"}
"""The argument without which an operation covers every directory."""

LOADS_NOTHING = parse_operation_ids("""
    v2.session.list  # reads the database
""")
"""Take a `directory` without loading it."""

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
"""Take a directory, but are useful without a project."""

ARGUMENTS_BY_KIND: Mapping[ArgumentKind, frozenset[str]] = {
    "directory": parse_argument_names("directory cwd"),
    "path": parse_argument_names("path paths subpath instructions"),
    "url": parse_argument_names("url uri"),
    "source": parse_argument_names("plugin repository"),
    "mentions": parse_argument_names("arguments"),
    "session": parse_argument_names("sessionID parentID"),
    "project": parse_argument_names("projectID"),
    "workspace": parse_argument_names("workspace workspaceID"),
    "id": parse_argument_names("id"),
}
"""The names of arguments that name a location, at any depth."""

KIND_EXCEPTIONS: Mapping[tuple[str, str], ArgumentKind | None] = {
    ("experimental.workspace.create", "id"): None,  # the id of the new workspace
    ("v2.projectCopy.create", "name"): "path",  # joined to `directory` as it is, `..` included
}
"""Arguments whose kind differs from that of others with the same name."""

NOT_LOCATIONS = parse_argument_names("""
    cursor project roots scope search  # filter what an operation of FILTERED_LISTS returns
    $schema access accountID accountId action after agent agents aggregateID answers api apiKey archived args
    attachment attachments attempt attemptID auto auto_resize autoshare autoupdate baseURL bash batch_tool
    before blacklist body branch build cache cache_read cache_write callbackPort callID character chunkTimeout
    clientId clientName clientSecret code color cols command commands compacted compaction config context
    context_over_200k continue_loop_on_deny copyChanges cors cost created credentialID data default_agent
    delivery description destination dirs disable disable_paste_summary disabled disabled_providers doom_loop
    duration edit effect enabled enabled_providers end enterprise enterpriseUrl env environment error events
    experimental expires explore extensions external_directory extra family field filename files force format
    formatter full general glob grep hash headers headerTimeout hidden hostname icon ignore ignored image
    initialization input inputs integrationID interleaved isRetryable key kind label layout level limit line
    list location logLevel lsp max_base64_bytes max_bytes max_chars max_events max_height max_lines max_width
    maxSteps mcp mcp_timeout mdns mdnsDomain message messageID metadata method methodID mime modalities mode
    model modelID models moveChanges name noReply npm oauth openTelemetry options order orgID output overflow
    override partID parts patch pattern permission permissionID plan policies port preserve_recent_tokens
    primary_tools prompt properties provider providerID prune ptyID query question range raw read reason
    reasoning redirectUri reference references refresh release_date reply requestID reserved resource
    resources response responseBody responseHeaders resume retryCount rows save schema seq server service
    setCacheKey share shell size skill skills small_model snapshot source start startCommand state status
    statusCode steps strategy subagent_depth subtask summary synthetic system tail_start_id tail_turns target
    task temperature template text ticket time timeout timeout_seconds title todowrite token tokens tool
    tool_call tool_output tools top_p total type types until urls username value variant variants watcher
    webfetch websearch whitelist write
""")
"""The names of arguments that are not locations. `external_directory` and the other permission rules only look like
one: they say what OpenCode's tools may reach without asking, not where they work."""


SCOPES = Scopes(
    all_directories=ALL_DIRECTORIES,
    no_directory=NO_DIRECTORY,
    one_directory=ONE_DIRECTORY,
    filtered_lists=FILTERED_LISTS,
    loads_nothing=LOADS_NOTHING,
    new_sessions=parse_operation_ids("v2.session.create"),
    without_project=WITHOUT_PROJECT,
    required_argument=REQUIRED_ARGUMENT,
    arguments_by_kind=ARGUMENTS_BY_KIND,
    kind_exceptions=KIND_EXCEPTIONS,
    not_locations=NOT_LOCATIONS,
)
