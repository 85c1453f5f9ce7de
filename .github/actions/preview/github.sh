# What preview.sh asks of GitHub.
: "${REPOSITORY:?owner/name of the repository}"
authorization="Authorization: Bearer $PREVIEW_TOKEN"
repository="${GITHUB_API_URL:-https://api.github.com}/repos/$REPOSITORY"

# open or closed
state() { ask "$repository/pulls/$NUMBER" | jq -r .state; }

is_private() { [[ $(ask "$repository" | jq -r .private) == true ]]; }

# All of them, page by page.
list_comments() {
  local page=0 found
  while :; do
    page=$((page + 1))
    found=$(ask "$repository/issues/$NUMBER/comments?per_page=100&page=$page") || return
    jq -c '.[] | {id, body}' <<<"$found"
    [[ $(jq length <<<"$found") == 100 ]] || break
  done | jq -s .
}

write_comment() {
  case $1 in
    new) ask --request POST --data @- "$repository/issues/$NUMBER/comments" ;;
    *) ask --request PATCH --data @- "$repository/issues/comments/$1" ;;
  esac >/dev/null
}
