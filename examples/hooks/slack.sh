#!/bin/sh
# A message to a Slack channel through an incoming webhook. Needs jq and curl.
#   opencode-mcp --on-event 'sh /path/to/slack.sh'
# The webhook's URL is a secret, so it is in a file that only you can read, ~/.config/opencode-mcp/slack.curl:
#   url = "https://hooks.slack.com/services/…"
set -eu
# Slack gives &, < and > a meaning, such as <!channel>.
jq '{text: ("*\(.title)* \(.state), $\(.cost)\n\(.message)"
  | gsub("&"; "&amp;") | gsub("<"; "&lt;") | gsub(">"; "&gt;"))}' |
  curl --silent --show-error --fail --max-time 20 --output /dev/null \
    --config "$HOME/.config/opencode-mcp/slack.curl" \
    --header 'Content-Type: application/json' --data-binary @-
