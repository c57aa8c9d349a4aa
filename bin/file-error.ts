/** Errors of the file system in words. */
const WORDS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file or directory",
  EACCES: "permission denied",
  EPERM: "operation not permitted",
  EROFS: "the file system is read-only",
  EISDIR: "it is a directory",
  ENOTDIR: "a part of the path is not a directory",
  EEXIST: "something of that name is in the way",
  ENOSPC: "no space left",
  EDQUOT: "the quota is used up",
  ENAMETOOLONG: "the name is too long",
  ELOOP: "too many symbolic links"
}

export const explainFileError = (error: unknown): string => {
  const { code, message } = error as NodeJS.ErrnoException
  return WORDS[code ?? ""] ?? message
}
