#!/bin/sh
# A desktop notification on Linux. Needs jq and notify-send (libnotify).
#   opencode-mcp --on-event 'sh /path/to/notify-send.sh'
set -eu
event=$(cat)
field() { printf '%s' "$event" | jq -r "$1"; }

case $(field .state) in
completed) urgency=low ;;
*) urgency=normal ;;
esac
# The body is markup, so what a task says is escaped.
exec notify-send --app-name=OpenCode --urgency="$urgency" -- \
  "$(field '.title')" "$(field '"\(.state): \(.message)" | @html')"
