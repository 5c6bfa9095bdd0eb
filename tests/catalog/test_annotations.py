"""Every operation has been decided about, once."""

from __future__ import annotations

import pytest

from opencode_mcp.catalog import Catalog


def test_each_operation_either_reads_writes_or_destroys(every_catalog: Catalog) -> None:
    """The three classes are disjoint, and together the document."""
    documented = {operation.id for operation in every_catalog.values()}
    decided = every_catalog.generation.annotations

    assert decided.reads | decided.writes | decided.destroys == documented
    assert len(decided.reads) + len(decided.writes) + len(decided.destroys) == len(documented)


def test_only_known_operations_are_unavailable(every_catalog: Catalog) -> None:
    """A release that renames one has to decide again."""
    assert {operation.id for operation in every_catalog.values()} >= every_catalog.generation.annotations.unavailable


def test_only_known_operations_are_idempotent_or_open_world(every_catalog: Catalog) -> None:
    """A read is idempotent without being named; a name that is in no class is a misspelling."""
    decided = every_catalog.generation.annotations

    assert decided.idempotent <= decided.writes | decided.destroys
    assert decided.unbounded <= decided.writes | decided.destroys
    assert decided.open_world <= decided.reads | decided.writes | decided.destroys


@pytest.mark.parametrize(
    "name",
    [
        "auth_remove",
        "auth_set",
        "config_update",
        "global_config_update",
        "global_dispose",
        "global_upgrade",
        "instance_dispose",
        "pty_connect",
        "session_abort",
        "session_delete",
        "session_prompt",
        "session_revert",
        "session_shell",
        "sync_steal",
        "v2_credential_remove",
        "v2_project_copy_create",
        "v2_pty_connect",
        "v2_session_prompt",
        "worktree_remove",
        "worktree_reset",
    ],
)
def test_an_operation_that_can_lose_something_is_destructive(catalog: Catalog, name: str) -> None:
    """A client asks a person before it calls one of these."""
    decided = catalog[name].hints

    assert decided.destructive
    assert not decided.read_only


def test_a_read_is_never_destructive_and_always_idempotent(every_catalog: Catalog) -> None:
    """The four hints of an operation do not contradict one another."""
    reads = [operation.hints for operation in every_catalog.values() if operation.hints.read_only]

    assert len(reads) == len(every_catalog.generation.annotations.reads)
    assert all(decided.idempotent and not decided.destructive for decided in reads)


def test_annotations_do_not_follow_the_http_method(catalog: Catalog) -> None:
    """Some GETs type into a shell or take a request off a queue; some POSTs only read."""
    surprising = {
        operation.id for operation in catalog.values() if (operation.method == "GET") != operation.hints.read_only
    }

    assert surprising == {"pty.connect", "v2.pty.connect", "tui.control.next", "sync.history.list", "v2.session.wait"}


@pytest.mark.parametrize(("method", "read_only"), [("get", True), ("post", False)])
def test_an_unknown_operation_is_annotated_as_destructive(every_catalog: Catalog, method: str, read_only: bool) -> None:
    """Nobody has decided about it: only a GET is taken for a read, and anything may reach outside."""
    decided = every_catalog.generation.annotations.hints_for("brand.new", method)

    assert decided.read_only is read_only
    assert decided.destructive is not read_only
    assert decided.idempotent is read_only
    assert decided.open_world
