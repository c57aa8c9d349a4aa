/** Bytes of all chunks together. */
export const bytesOf = (chunks: ReadonlyArray<Uint8Array>): number => {
  let bytes = 0
  for (const chunk of chunks) bytes += chunk.length
  return bytes
}
