"""The operations of the server and of locations: configuration, agents, models, files, worktrees."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

import anyio

from .calls import OperationCall, OperationError
from .project import Project, compare_file, fault_of_directory
from .store import Json, new_id

VERSION = "2.1.2"
HEADS = "ref: refs/heads/"


def info(call: OperationCall) -> Json:
    """Facts, process: version, process and addresses."""
    return {"version": VERSION, "pid": os.getpid(), "urls": [], "paths": {"tmp": str(call.engine.options.folder)}}


def get_location(call: OperationCall) -> Json:
    """Facts, location: bare; the project of a worktree is its main checkout's, its directory the worktree's top."""
    project = project_of(call)
    root = str(project.checkout or project.top)
    if project.checkout is not None:
        call.engine.known_projects[project.id] = project.checkout
    described = {"id": project.id, "directory": str(project.top), "canonical": root}
    return {"directory": call.directory, "project": described}


def project_of(call: OperationCall) -> Project:
    """Return the project of the location."""
    return call.engine.project(call.directory)


def reload(call: OperationCall) -> None:
    """Facts, location: rebuilds all locations; what waits for the user is rejected."""
    call.engine.requests.reject_all()
    directories = {session.directory for session in call.engine.store.sessions.values()}
    for directory in directories:
        call.engine.events.publish("location.shutdown", None, directory)


def list_agents(call: OperationCall) -> Json:
    """The agents with their rules."""
    return call.at_location(project_of(call).agents())


def list_models(call: OperationCall) -> Json:
    """The models of every provider. Recorded: none yet, right after the start."""
    if call.engine.empty_model_lists:
        call.engine.empty_model_lists -= 1
        return call.at_location([])
    return call.at_location(project_of(call).models())


def default_model(call: OperationCall) -> Json:
    """Facts, create: null where none is configured, as no hosted model is served here."""
    project = project_of(call)
    ref = project.default_model()
    return call.at_location(None if ref is None else project.find_model(ref))


def list_providers(call: OperationCall) -> Json:
    """Facts, differences: keys may be in clear."""
    return call.at_location(
        [
            {
                "id": name,
                "name": settings.get("name", name),
                "activation": "enabled",
                "package": settings.get("npm", "custom"),
                "settings": settings.get("options", {}),
            }
            for name, settings in project_of(call).config.get("provider", {}).items()
        ]
    )


def get_config(call: OperationCall) -> list[Json]:
    """Facts, operations: documents in their order, not merged."""
    project = project_of(call)
    providers = {
        name: {"settings": settings.get("options", {})} for name, settings in project.config.get("provider", {}).items()
    }
    return [{"type": "document", "path": str(project.directory / "opencode.json"), "info": {"providers": providers}}]


def list_nothing(call: OperationCall) -> Json:
    """What the fake has none of."""
    return call.at_location([])


def list_projects(call: OperationCall) -> list[Json]:
    """The projects of all sessions, and those of all locations that were asked for. Source: resolving one stores it."""
    projects = [call.engine.project(session) for session in call.engine.store.sessions.values()]
    roots = {project.id: project.checkout or project.top for project in projects} | call.engine.known_projects
    times = {"created": 0, "updated": 0, "active": 0}
    return [{"id": id_, "canonical": str(root), "time": times, "sandboxes": []} for id_, root in roots.items()]


def read_file(call: OperationCall) -> bytes:
    """Facts, operations: the bytes of a file."""
    return find_file(call, unquote(call.values["path"])).read_bytes()


def find_file(call: OperationCall, path: str) -> Path:
    """Return a file of the location."""
    found = Path(call.directory) / path
    if not found.exists():
        raise OperationError(404, "FileNotFoundError", f"File not found: {path}", path=path)
    return found


def list_files(call: OperationCall) -> Json:
    """The entries of a folder."""
    folder = find_file(call, call.query.get("path", "."))
    return call.at_location([describe_entry(call, path) for path in sorted(folder.iterdir())])


def describe_entry(call: OperationCall, path: Path) -> Json:
    """Return a file as a list has it."""
    kind = "directory" if path.is_dir() else "file"
    return {"path": str(path.relative_to(call.directory)), "type": kind}


def find_files(call: OperationCall) -> Json:
    """The files whose path has the letters of the query in their order."""
    found = [path for path in project_of(call).files() if has_letters(str(path), call.query["query"])]
    return call.at_location([describe_entry(call, path) for path in found[: call.number("limit", 100)]])


def has_letters(text: str, query: str) -> bool:
    """Whether a text has the letters of a query in their order."""
    letters = iter(text.lower())
    return all(letter in letters for letter in query.lower())


def find_checkout(call: OperationCall, project_id: str) -> Path:
    """Return the main checkout of a project that a session or a request has named."""
    projects = [call.engine.project(session) for session in call.engine.store.sessions.values()]
    checkouts = {project.id: project.checkout for project in projects if project.checkout is not None}
    known = (call.engine.known_projects | checkouts).get(project_id)
    if known is None:
        raise OperationError(404, "ProjectNotFoundError", f"Project not found: {project_id}", projectID=project_id)
    return known


def list_worktrees(call: OperationCall) -> list[Json]:
    """The worktrees that were made here."""
    find_checkout(call, call.query["projectID"])
    return [{"directory": directory} for directory in call.engine.store.worktrees.get(call.query["projectID"], [])]


async def create_worktree(call: OperationCall) -> Json:
    """Facts, worktree: a name is made where none is given."""
    body = call.body
    checkout = find_checkout(call, body["projectID"])
    name: str = body.get("name") or new_id("tree")[-8:].lower()
    directory = body.get("directory") or str(call.engine.options.folder / body["projectID"] / name)
    branch: str = body.get("branch") or f"opencode/{name}"
    await run_git(body.get("from", str(checkout)), "worktree", "add", "-b", branch, directory)
    call.engine.store.worktrees.setdefault(body["projectID"], []).append(directory)
    call.engine.events.publish("worktree.updated", None, call.directory, projectID=body["projectID"])
    return {"directory": directory}


async def remove_worktree(call: OperationCall) -> None:
    """Facts, worktree: DELETE with a body; without `force` changes are kept."""
    body = call.body
    checkout = find_checkout(call, body["projectID"])
    force = ["--force"] if body["force"] else []
    await run_git(str(checkout), "worktree", "remove", *force, body["directory"])
    worktrees = call.engine.store.worktrees.get(body["projectID"], [])
    if body["directory"] in worktrees:
        worktrees.remove(body["directory"])
    call.engine.events.publish("worktree.updated", None, call.directory, projectID=body["projectID"])


async def run_git(directory: str, *arguments: str) -> str:
    """Run git, and return what it prints.

    Raises:
        OperationError: git failed. Facts, worktree: 400 WorktreeError.
    """
    if fault := fault_of_directory(directory):
        raise worktree_error(fault)
    done = await anyio.run_process(["git", "-C", directory, *arguments], check=False)
    if done.returncode:
        raise worktree_error(done.stderr.decode().strip())
    return done.stdout.decode()


def worktree_error(message: str) -> OperationError:
    """Return the error of worktrees, which has a form of its own."""
    return OperationError(400, "WorktreeError", message, name="WorktreeError", data={"message": message})


def get_vcs(call: OperationCall) -> Json:
    """The branch of the working tree, and the default one of its repository; none where there is no repository."""
    top = project_of(call).top
    link = top / ".git"
    folder = Path(link.read_text().removeprefix("gitdir:").strip()) if link.is_file() else link
    head = folder / "HEAD"
    if not head.is_file():
        return call.at_location({"branch": {}})
    reference = head.read_text().strip()
    current = {"current": reference.removeprefix(HEADS)} if reference.startswith(HEADS) else {}
    heads = (project_of(call).checkout or top) / ".git" / "refs" / "heads"
    defaults = [{"default": name} for name in ("main", "master") if (heads / name).is_file()]
    return call.at_location({"provider": "git", "branch": {**current, **(defaults[0] if defaults else {})}})


async def working_changes(call: OperationCall) -> list[Json]:
    """Return what the working copy changes; a folder that is no repository has no changes."""
    if project_of(call).checkout is None:
        return []
    status = await run_git(call.directory, "status", "--porcelain", "-z", "--untracked-files=all", "--no-renames")
    context, changes = call.number("context", 3), list[Json]()
    for entry in filter(None, status.split("\0")):
        kind, path = entry[:2], entry[3:]
        file = Path(call.directory) / path
        before = None if kind in ("??", "A ", "AM") else await run_git(call.directory, "show", f"HEAD:{path}")
        changes.append(compare_file(path, before, file.read_text() if file.is_file() else None, context))
    return changes


async def diff_working(call: OperationCall) -> Json:
    """Facts, operations: a patch for each file."""
    if call.query["mode"] != "working":
        raise OperationError(503, "ServiceUnavailableError", "the fake compares the working copy only")
    return call.at_location(await working_changes(call))


async def status_working(call: OperationCall) -> Json:
    """The files that the working copy changes."""
    names = ("file", "additions", "deletions", "status")
    return call.at_location([{name: change[name] for name in names} for change in await working_changes(call)])
