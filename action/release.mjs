// The release whose binary this revision of the action runs, by architecture.
//
// A digest stands here, and not beside the download: whoever can change a release's files can't change what a workflow
// that pins this action runs. `version`, `url` and `sha256` are written by whoever makes the release.

/** There is no release yet. Each entry: `{ url, sha256 }`, by `process.arch`. */
export const RELEASE = { version: undefined, assets: {} };
