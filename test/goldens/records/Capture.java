// Prints, as JSON, record batches that Kafka's own MemoryRecordsBuilder makes, with what each record holds.
// Run by capture.sh. Deterministic but for the compressors' versions.
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.Record;

public class Capture {
  record Input(long timestampMs, byte[] key, byte[] value, Header... headers) {}

  static final List<String> lines = new ArrayList<>();

  public static void main(String[] args) {
    for (CompressionType codec : List.of(CompressionType.NONE, CompressionType.GZIP, CompressionType.SNAPPY, CompressionType.LZ4, CompressionType.ZSTD)) {
      print(codec.name + " few", codec, TimestampType.CREATE_TIME, 0, -1, (short) -1, -1, false, few());
      print(codec.name + " many", codec, TimestampType.CREATE_TIME, 0, -1, (short) -1, -1, false, many(300));
      print(codec.name + " large", codec, TimestampType.CREATE_TIME, 0, -1, (short) -1, -1, false, large(codec == CompressionType.NONE ? 8192 : 70000));
    }
    print("at an offset beyond 2^32", CompressionType.NONE, TimestampType.CREATE_TIME, 5_000_000_000L, -1, (short) -1, -1, false, few());
    print("idempotent", CompressionType.NONE, TimestampType.CREATE_TIME, 0, 4_300_000_000L, (short) 3, 2147483646, false, few());
    print("transactional, zstd", CompressionType.ZSTD, TimestampType.CREATE_TIME, 7, 42, (short) 32767, 0, true, few());
    print("append time", CompressionType.NONE, TimestampType.LOG_APPEND_TIME, 100, -1, (short) -1, -1, false, few());
    print("append time, gzip", CompressionType.GZIP, TimestampType.LOG_APPEND_TIME, 100, -1, (short) -1, -1, false, few());
    print("timestamps far apart", CompressionType.NONE, TimestampType.CREATE_TIME, 0, -1, (short) -1, -1, false,
      List.of(new Input(0, null, null), new Input(4_102_444_800_000L, null, null), new Input(1, null, null), new Input(1L << 52, null, null)));
    System.out.println("[\n" + String.join(",\n", lines) + "\n]");
  }

  static List<Input> few() {
    return List.of(
      new Input(1_700_000_000_000L, utf8("key"), utf8("value"), new RecordHeader("a", utf8("1")), new RecordHeader("", null), new RecordHeader("ключ", new byte[0])),
      new Input(1_700_000_000_005L, null, utf8("no key")),
      new Input(1_700_000_000_003L, utf8("no value"), null),
      new Input(1_699_999_999_000L, new byte[0], new byte[0]),
      new Input(1_700_000_000_005L, null, null, new RecordHeader("a", utf8("1")), new RecordHeader("a", utf8("2"))));
  }

  static List<Input> many(int count) {
    List<Input> inputs = new ArrayList<>();
    for (int index = 0; index < count; index++) {
      inputs.add(new Input(1_700_000_000_000L + index * 7L, utf8("key-" + index % 50), utf8("value-" + index)));
    }
    return inputs;
  }

  // Lengths around the steps of varints and of the codecs' blocks.
  static List<Input> large(int lengthMax) {
    List<Input> inputs = new ArrayList<>();
    for (int length : new int[] {63, 64, 8191, 8192, 32767, 32768, 65535, 65536, 70000}) {
      if (length > lengthMax) break;
      byte[] value = new byte[length];
      for (int at = 0; at < length; at++) value[at] = (byte) (at % 4000 == 0 ? at >> 8 : 'x');
      inputs.add(new Input(1_700_000_000_000L, utf8("k" + length), value));
    }
    return inputs;
  }

  static void print(String name, CompressionType codec, TimestampType type, long baseOffset, long producerId, short epoch, int sequence, boolean transactional, List<Input> inputs) {
    MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1 << 20), (byte) 2, Compression.of(codec).build(), type, baseOffset, 1_700_000_123_456L, producerId, epoch, sequence, transactional, 9);
    for (Input input : inputs) builder.append(input.timestampMs, input.key, input.value, input.headers);
    MemoryRecords records = builder.build();
    byte[] bytes = new byte[records.sizeInBytes()];
    records.buffer().duplicate().get(bytes);
    List<String> decoded = new ArrayList<>();
    for (Record record : records.records()) {
      List<String> headers = new ArrayList<>();
      for (Header header : record.headers()) headers.add("[\"" + header.key() + "\", " + hex(header.value()) + "]");
      decoded.add("[" + record.offset() + ", " + record.timestamp() + ", " + hex(record.key()) + ", " + hex(record.value()) + ", [" + String.join(", ", headers) + "]]");
    }
    lines.add("{\"name\": \"" + name + "\", \"codec\": " + codec.id + ", \"batch\": \"" + Base64.getEncoder().encodeToString(bytes) + "\", \"records\": [" + String.join(", ", decoded) + "]}");
  }

  static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  // Long values by their length and a checksum: the file stays small.
  static String hex(ByteBuffer buffer) {
    if (buffer == null) return "null";
    byte[] bytes = new byte[buffer.remaining()];
    buffer.duplicate().get(bytes);
    return hex(bytes);
  }

  static String hex(byte[] bytes) {
    if (bytes == null) return "null";
    if (bytes.length <= 64) return "\"" + HexFormat.of().formatHex(bytes) + "\"";
    java.util.zip.CRC32C crc = new java.util.zip.CRC32C();
    crc.update(bytes);
    return "\"" + bytes.length + ":" + crc.getValue() + "\"";
  }
}
