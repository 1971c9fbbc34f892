#!/usr/bin/env bash
# The steps of action.yml, and of any other CI: measure a model, gate it, tell the pull request.
#
#   perframe-gate.sh install SOURCE EXTRAS        perframe into an environment of its own, on the PATH of later steps
#   perframe-gate.sh baseline FOLDER ARTIFACT     the results of the last push to the default branch that succeeded
#   perframe-gate.sh measure MODEL RESULTS RUNS   a checkpoint is exported first; RESULTS/run-1.json, ...
#   perframe-gate.sh gate RESULTS BASELINE        BASELINE: a profile, or a folder of run-*.json
#   perframe-gate.sh against MODEL BASE RESULTS   both models in turn, on this machine, now
#   perframe-gate.sh comment RESULTS NAME PULL    RESULTS/gate.md as the comment NAME, which later runs write anew
#
# Everything else is set in perframe.toml, or by PERFRAME_* variables. The exit code is perframe's. With
# INCONCLUSIVE=warn a gate that could not decide (but not one that could not compare) ends with 0. With GATED=true an
# invalid measurement is left to the gate; without, it ends with 8, lest it become the next baseline.
set -euo pipefail

# The two lines of every error of perframe's.
fail() {
  echo "error: $2" >&2
  echo "hint: $3" >&2
  exit "$1"
}

require_gh() {
  command -v gh >/dev/null || fail 6 "gh: GitHub's command is not on this runner." \
    "Install it (https://cli.github.com), or give a baseline that is kept in the repository and comment: false."
}

install() {
  local source=$1 extras=$2 home=${RUNNER_TEMP:-/tmp}/perframe-environment
  "${PYTHON:-python3}" -m venv "$home"
  "$home/bin/python" -m pip install --disable-pip-version-check --quiet "$source${extras:+[$extras]}"
  if [[ -n ${GITHUB_PATH:-} ]]; then
    echo "$home/bin" >>"$GITHUB_PATH"
  fi
  "$home/bin/perframe" --version
}

measure() {
  local model=$1 results=$2 runs=$3 run code
  mkdir -p "$results"
  rm -f "$results"/run-*.json
  perframe doctor
  # An engine has its sidecar beside it.
  if [[ $model != *.onnx && ! -e $model.json ]]; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    perframe export "$model" -o "$scratch/model.onnx"
    model=$scratch/model.onnx
  fi
  for ((run = 1; run <= runs; run++)); do
    code=0
    perframe profile "$model" -o "$results/run-$run.json" || code=$?
    [[ $code -eq 0 || $code -eq 8 && ${GATED:-} == true ]] || exit "$code"
  done
}

baseline() {
  local folder=$1 artifact=$2 run
  require_gh
  # Pushes only: a pull request from a fork's branch of the same name would else be a baseline, even its own.
  run=$(gh run list --repo "$GITHUB_REPOSITORY" --workflow "$GITHUB_WORKFLOW" --branch "$DEFAULT_BRANCH" \
    --event push --status success --limit 1 --json databaseId --jq '.[0].databaseId // empty')
  if [[ -z $run ]]; then
    fail 5 "$DEFAULT_BRANCH: no push to it on which $GITHUB_WORKFLOW succeeded, so there is no baseline." \
      "Let the workflow run on a push to $DEFAULT_BRANCH first, or give a baseline that is kept in the repository."
  fi
  rm -f "$folder"/run-*.json
  gh run download "$run" --repo "$GITHUB_REPOSITORY" --name "$artifact" --dir "$folder" ||
    fail 5 "$artifact: run $run on $DEFAULT_BRANCH has no such artifact, or it cannot be fetched." \
      "Artifacts expire: let the workflow run on $DEFAULT_BRANCH again."
}

gate() {
  local results=$1 baseline=$2 file options=()
  [[ -d $baseline ]] && baseline=$baseline/run-*.json
  # Unquoted, so that a folder's runs are listed; a name that matches nothing stays, and is refused as missing.
  local IFS=
  for file in $baseline; do
    options+=(--baseline "$file")
  done
  judge "$results" "$results"/run-*.json "${options[@]}"
}

against() {
  local model=$1 base=$2 results=$3
  mkdir -p "$results"
  perframe doctor
  judge "$results" "$model" --against "$base"
}

judge() {
  local results=$1 code=0
  shift
  rm -f "$results"/gate.*
  if [[ ${GITHUB_ACTIONS:-} == true ]]; then
    set -- "$@" --github
  fi
  perframe gate "$@" --markdown "$results/gate.md" --junit "$results/gate.xml" -o "$results/gate.json" || code=$?
  if [[ -n ${GITHUB_OUTPUT:-} ]]; then
    echo "outcome=$(outcome "$results")" >>"$GITHUB_OUTPUT"
  fi
  if [[ $code -eq 4 && ${INCONCLUSIVE:-fail} == warn && $(outcome "$results") == inconclusive ]]; then
    code=0
  fi
  return "$code"
}

outcome() {
  sed -n 's/^ "outcome": "\([a-z]*\)",$/\1/p' "$1/gate.json" 2>/dev/null || true
}

comment() {
  local results=$1 mark="<!-- perframe: $2 -->" comments="repos/$GITHUB_REPOSITORY/issues/$3/comments" found
  require_gh
  [[ -e $results/gate.md ]] || fail 5 "$results/gate.md: there is no verdict to tell." "See the step before."
  { echo "$mark" && cat "$results/gate.md"; } >"$results/comment.md"
  found=$(gh api "$comments" --paginate --jq ".[] | select(.body | startswith(\"$mark\")) | .id" | head -n 1)
  if [[ -n $found ]]; then
    gh api --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$found" --field "body=@$results/comment.md"
  else
    gh api --method POST "$comments" --field "body=@$results/comment.md"
  fi >/dev/null
}

case "${1:-} $#" in
"install 3" | "measure 4" | "baseline 3" | "gate 3" | "against 4" | "comment 4") "$@" ;;
*) fail 2 "perframe-gate.sh: expected a step and its arguments, found: $*" "See the top of the file." ;;
esac
