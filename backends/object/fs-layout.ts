/** What lies in a directory-backed bucket beside the objects; no adapter takes a key that begins with one of them. */
export const TEMPORARY_DIRECTORY = ".tmp"
export const BUCKET_MARKER = ".meridian-bucket"
