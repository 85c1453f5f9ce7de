#!/usr/bin/env bash
# preview.sh share|end: the share of a pull request, and the one comment that tells of it. The action and the GitLab jobs
# call it; README.md of charts/preview-environment tells how. Each verb may run again at any time and leaves the same.
#
# Needs kubectl (logged in), the plugin `kubectl connect`, curl and jq, and in the environment:
#   FORGE github|gitlab, NUMBER, NAMESPACE, PREVIEW_TOKEN; REPOSITORY (GitHub)
#   optional: SHARE (pr-NUMBER), LIFETIME (24h), SHOW_CODE (true), TIMEOUT (2m)
set -euo pipefail
shopt -s inherit_errexit
here=$(dirname "${BASH_SOURCE[0]}")

: "${FORGE:?github or gitlab}" "${NUMBER:?number of the pull request}" "${NAMESPACE:?namespace of the environment}"
: "${PREVIEW_TOKEN:?token that may comment}"
share=${SHARE:-pr-$NUMBER}
lifetime=${LIFETIME:-24h}
marker='<!-- preview by private-connect -->' # by which the comment is found again

authorization='' comments='' # set there, beside state, is_private and replace ID
# shellcheck source=github.sh source-path=SCRIPTDIR
source "$here/$FORGE.sh"

main() {
  case "${1:-}" in
    share) share_it ;;
    end) end_it ;;
    *) echo "usage: preview.sh share|end" >&2; exit 1 ;;
  esac
}

share_it() {
  local state
  state=$(state) # a forge that does not answer ends this here, and no share
  if [[ $state != open ]]; then end_it; return; fi
  # An end cannot be taken back.
  if over; then kubectl delete environmentshare "$share" -n "$NAMESPACE" --ignore-not-found; fi
  manifest | kubectl apply -n "$NAMESPACE" -f -
  if ! kubectl wait environmentshare/"$share" -n "$NAMESPACE" --for=condition=Active --timeout="${TIMEOUT:-2m}"; then
    kubectl connect status "$share" -n "$NAMESPACE" >&2 # says what it waits for
    exit 1
  fi
  # Closed while it was made: whoever closed it found nothing to end.
  state=$(state)
  if [[ $state != open ]]; then end_it; return; fi
  local body flags=(-o md)
  if [[ ${SHOW_CODE:-true} == true ]] && is_private; then flags+=(--show-code); fi
  body=$(kubectl connect status "$share" -n "$NAMESPACE" "${flags[@]}")
  comment "$body"
}

end_it() {
  kubectl delete environmentshare "$share" -n "$NAMESPACE" --ignore-not-found
  local id
  id=$(own_comment)
  if [[ -n $id ]]; then comment "The share of this environment has ended."; fi
}

# Whether there is a share that has ended, or ends by being deleted.
over() {
  local said
  said=$(kubectl get environmentshare "$share" -n "$NAMESPACE" --ignore-not-found -o \
    jsonpath='{.metadata.deletionTimestamp}{.status.conditions[?(@.type=="Active")].reason}')
  [[ $said == *Expired || $said == *Revoked || $said == *T*Z* ]]
}

# A date and no duration: every push moves it.
manifest() {
  [[ $lifetime =~ ^[0-9]+[hd]$ ]] || { echo "LIFETIME $lifetime is no duration: use 4h or 7d" >&2; exit 1; }
  local hours=${lifetime%[hd]}
  if [[ $lifetime == *d ]]; then hours=$((hours * 24)); fi
  cat <<END
apiVersion: connect.privateconnect.co/v1alpha1
kind: EnvironmentShare
metadata:
  name: $share
spec:
  displayName: PR-$NUMBER
  expirationTime: "$(date -u -d "+$hours hours" +%Y-%m-%dT%H:%M:%SZ)"
  routes:
    membership: Live
END
}

# Writes the one comment: the one that is there, or the first.
comment() {
  local id body
  id=$(own_comment)
  body=$(jq -n --arg body "$marker"$'\n'"$1" '{body: $body}')
  if [[ -n $id ]]; then
    replace "$id" <<<"$body" >/dev/null
  else
    ask --request POST --data @- "$comments" <<<"$body" >/dev/null
  fi
}

# Its number, looked for page by page.
own_comment() {
  local page=0 found id
  while :; do
    page=$((page + 1))
    found=$(ask "$comments?per_page=100&page=$page")
    id=$(jq -r --arg marker "$marker" 'map(select(.body | startswith($marker)))[0].id // empty' <<<"$found")
    if [[ -n $id || $(jq length <<<"$found") -lt 100 ]]; then break; fi
  done
  echo "$id"
}

# Asks the forge. The token is no argument: those can be read by everybody on the machine.
ask() {
  curl --silent --show-error --fail-with-body --max-time 30 --retry 3 --retry-connrefused \
    --config <(printf 'header = "%s"\n' "$authorization") --header 'Content-Type: application/json' "$@"
}

main "$@"
