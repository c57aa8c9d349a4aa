// Writes what Apache Kafka's own classes say of topic configs: names, types, defaults, and the answer to many values of
// each. Prints topic-config.json. README.md says how to run it.
import java.util.*;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.storage.internals.log.LogConfig;

public class Capture {
  static final String[] VALUES = {
    "", "x", "-1", "-2", "-3", "0", "13", "18", "1.5", "NaN", "Infinity", "2", "9223372036854775807", "9223372036854775808",
    "-9223372036854775809", "2147483647", "2147483648", "true", "TRUE", " false ", "a,b", "1:2,3:4", "1:2, x", "*", "none",
    "snappy", "zstd", "delete,compact", "compact , delete", "delete,delete", "delete,", "  5 ", "Producer", "CreateTime",
    "LogAppendTime", "0x10", "+5", "+-5", "1e3", "1e-9", "0.25", ".5", "5.", "1f", "-131073", "-131072", "1048575", "1 2"
  };

  static String quote(String text) {
    StringBuilder out = new StringBuilder("\"");
    for (char c : text.toCharArray()) {
      if (c == '"' || c == '\\') out.append('\\');
      out.append(c);
    }
    return out.append('"').toString();
  }

  static String defaultOf(ConfigDef.ConfigKey key) {
    return key.defaultValue == null ? "" : ConfigDef.convertToString(key.defaultValue, key.type);
  }

  public static void main(String[] arguments) {
    ConfigDef definition = LogConfig.configDefCopy();
    List<String> lines = new ArrayList<>();
    for (String name : new TreeSet<>(definition.names())) {
      ConfigDef.ConfigKey key = definition.configKeys().get(name);
      if (key.internalConfig) continue;
      // The same refusal comes again and again: answers are listed by the message, with {} for the value.
      Map<String, List<String>> answers = new LinkedHashMap<>();
      for (String value : VALUES) {
        String answer = "";
        try {
          LogConfig.validate(new HashMap<>(Map.of(name, value)));
        } catch (Exception error) {
          answer = error.getMessage().replace("Invalid value " + value + " for", "Invalid value {} for");
        }
        answers.computeIfAbsent(answer, ignored -> new ArrayList<>()).add(quote(value));
      }
      List<String> groups = new ArrayList<>();
      answers.forEach((answer, values) -> groups.add("  " + quote(answer) + ": [" + String.join(", ", values) + "]"));
      lines.add(" " + quote(name) + ": {\"type\": " + quote(key.type.name().toLowerCase()) + ", \"default\": "
        + quote(defaultOf(key)) + ", \"answers\": {\n" + String.join(",\n", groups) + "}}");
    }
    System.out.println("{\n" + String.join(",\n", lines) + "\n}");
  }
}
