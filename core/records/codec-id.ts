/**
 * Kafka's compression codecs by their number in a batch's attributes [pure]. The names are those of `compression.type`.
 */

export type CodecName = "uncompressed" | "gzip" | "snappy" | "lz4" | "zstd"

export const CODEC_NONE = 0
export const CODEC_GZIP = 1
export const CODEC_SNAPPY = 2
export const CODEC_LZ4 = 3
export const CODEC_ZSTD = 4

export const CODEC_BY_NAME: Readonly<Record<CodecName, number>> = {
  uncompressed: CODEC_NONE,
  gzip: CODEC_GZIP,
  snappy: CODEC_SNAPPY,
  lz4: CODEC_LZ4,
  zstd: CODEC_ZSTD
}

export const isKnownCodec = (codec: number): boolean => codec >= CODEC_NONE && codec <= CODEC_ZSTD
