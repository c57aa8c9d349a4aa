// Reads batches as hex, one a line, from standard input, and prints what Kafka's own classes read in each: the CRC's
// verdict, the number of records, and the CRC-32C over all keys and values. Used to show that our batches are Kafka's.
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.Scanner;
import java.util.zip.CRC32C;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;

public class Accept {
  public static void main(String[] args) {
    Scanner scanner = new Scanner(System.in);
    while (scanner.hasNextLine()) {
      MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(HexFormat.of().parseHex(scanner.nextLine().trim())));
      for (MutableRecordBatch batch : records.batches()) {
        CRC32C crc = new CRC32C();
        int count = 0;
        for (Record record : batch) {
          if (record.hasKey()) crc.update(record.key());
          if (record.hasValue()) crc.update(record.value());
          count++;
        }
        System.out.println(batch.isValid() + " " + batch.compressionType() + " " + count + " " + crc.getValue());
      }
    }
  }
}
