import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.InputStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.common.utils.AppInfoParser;

/**
 * Writes goldens of the wire protocol with Kafka's own classes: for every API below, version and direction, messages filled
 * by seed, as bytes and as JSON. The seed depends on nothing but the case, so that a capture can be repeated to the byte.
 */
public class Capture {
    static final int[] KEYS = {0, 1, 2, 3, 10, 18, 19, 20, 22, 23, 32, 37, 60};
    /** What fills the messages: nothing; nulls; smallest and largest numbers; by chance; two of each; all that can be set. */
    static final String[] MODES = {"default", "null", "extreme", "random", "more", "full"};
    static final ObjectMapper JSON = new ObjectMapper().configure(JsonParser.Feature.ALLOW_COMMENTS, true);
    /** Beyond this a double rounds; whole int64s stand in the mode "extreme" only. */
    static final long EXACT = 1L << 53;

    public static void main(String[] args) throws Exception {
        for (int key : KEYS) {
            ApiKeys api = ApiKeys.forId(key);
            List<String> cases = new ArrayList<>();
            for (short v = api.messageType.lowestSupportedVersion(); v <= api.messageType.highestSupportedVersion(true); v++) {
                for (String mode : MODES) {
                    cases.add(capture(api, v, "request", mode));
                    cases.add(capture(api, v, "response", mode));
                }
            }
            String file = String.format("%02d-%s.json", key, kebab(api.name));
            String head = String.format("{\"api\":\"%s\",\"key\":%d,\"kafka\":\"%s\",\"cases\":[\n",
                api.messageType.name, key, AppInfoParser.getVersion());
            Files.writeString(Path.of(args[0], file), head + String.join(",\n", cases) + "\n]}\n", StandardCharsets.UTF_8);
            System.out.println(file + ": " + cases.size() + " cases");
        }
    }

    static String kebab(String name) {
        return name.replaceAll("([a-z])([A-Z])", "$1-$2").replace('_', '-').toLowerCase();
    }

    static String capture(ApiKeys api, short version, String direction, String mode) throws Exception {
        boolean isRequest = direction.equals("request");
        String name = api.messageType.name + (isRequest ? "Request" : "Response");
        Random random = new Random((name + version + mode).hashCode());
        Class<?> type = Class.forName("org.apache.kafka.common.message." + name + "Data");
        Message data = (Message) type.getDeclaredConstructor().newInstance();
        JsonNode fields;
        try (InputStream in = Capture.class.getClassLoader().getResourceAsStream("common/message/" + name + ".json")) {
            fields = JSON.readTree(in).get("fields");
        }
        if (!mode.equals("default")) fill(data, type, fields, version, mode, random);
        ObjectNode golden = JSON.createObjectNode();
        golden.put("version", version).put("direction", direction).put("mode", mode);
        int correlationId = random.nextInt();
        golden.put("correlationId", correlationId);
        if (isRequest) {
            String clientId = mode.equals("null") ? null : mode.equals("default") ? "" : "client-" + text(random);
            golden.put("clientId", clientId);
            RequestHeaderData header = new RequestHeaderData().setRequestApiKey(api.id).setRequestApiVersion(version)
                .setCorrelationId(correlationId).setClientId(clientId);
            golden.put("header", hex(header, api.requestHeaderVersion(version)));
        } else {
            golden.put("header", hex(new ResponseHeaderData().setCorrelationId(correlationId), api.responseHeaderVersion(version)));
        }
        golden.put("body", hex(data, version));
        golden.set("value", json(data, type, fields, version));
        return JSON.writeValueAsString(golden);
    }

    static String hex(Message data, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(data.size(cache, version));
        data.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining()) throw new IllegalStateException("size and write differ");
        return HexFormat.of().formatHex(buffer.array());
    }

    /** Kafka's own JSON of the message; it leaves records out, so they are put in as hex. */
    static JsonNode json(Message data, Class<?> type, JsonNode fields, short version) throws Exception {
        Class<?> converter = Class.forName(type.getName() + "JsonConverter");
        JsonNode node = (JsonNode) converter.getMethod("write", type, short.class).invoke(null, data, version);
        putRecords((ObjectNode) node, data, fields);
        return node;
    }

    static void putRecords(ObjectNode node, Object data, JsonNode fields) throws Exception {
        for (JsonNode field : fields) {
            String name = camel(field);
            if (!node.hasNonNull(name)) continue;
            Object value = data.getClass().getMethod(name).invoke(data);
            if (field.get("type").asText().equals("records")) {
                ByteBuffer buffer = ((MemoryRecords) value).buffer();
                byte[] bytes = new byte[buffer.remaining()];
                buffer.get(bytes);
                node.put(name, HexFormat.of().formatHex(bytes));
            } else if (field.has("fields") && value instanceof Collection<?> elements) {
                int index = 0;
                for (Object element : elements) putRecords((ObjectNode) node.get(name).get(index++), element, field.get("fields"));
            } else if (field.has("fields")) {
                putRecords((ObjectNode) node.get(name), value, field.get("fields"));
            }
        }
    }

    static String camel(JsonNode field) {
        String name = field.get("name").asText();
        return Character.toLowerCase(name.charAt(0)) + name.substring(1);
    }

    static boolean isIn(JsonNode range, short version) {
        if (range == null || range.asText().equals("none")) return false;
        String[] ends = range.asText().replace("+", "-32767").split("-");
        return version >= Integer.parseInt(ends[0]) && version <= Integer.parseInt(ends[ends.length - 1]);
    }

    static void fill(Object data, Class<?> root, JsonNode fields, short version, String mode, Random random) throws Exception {
        for (JsonNode field : fields) {
            if (!isIn(field.get("versions"), version)) continue;
            boolean mayBeNull = isIn(field.get("nullableVersions"), version);
            boolean isTagged = isIn(field.get("taggedVersions"), version);
            if (isTagged && random.nextBoolean() && !mode.equals("extreme") && !mode.equals("full")) continue;
            Object value = null;
            boolean isNull = mayBeNull && (mode.equals("null") || random.nextInt(4) == 0 && !mode.equals("full"));
            Method setter = setter(data.getClass(), "set" + field.get("name").asText().substring(0, 1).toUpperCase() + field.get("name").asText().substring(1));
            if (!isNull) value = value(field, field.get("type").asText(), root, setter.getParameterTypes()[0], version, mode, random);
            try {
                setter.invoke(data, value);
            } catch (InvocationTargetException e) {
                throw new IllegalStateException(field.toString(), e);
            }
        }
    }

    static Method setter(Class<?> type, String name) {
        for (Method method : type.getMethods()) {
            if (method.getName().equals(name) && method.getParameterCount() == 1) return method;
        }
        throw new IllegalStateException(type + " has no " + name);
    }

    @SuppressWarnings("unchecked")
    static Object value(JsonNode field, String type, Class<?> root, Class<?> target, short version, String mode, Random random) throws Exception {
        boolean extreme = mode.equals("extreme");
        boolean high = random.nextBoolean();
        switch (type) {
            case "bool": return high;
            case "int8": return extreme ? (high ? Byte.MAX_VALUE : Byte.MIN_VALUE) : (byte) random.nextInt();
            case "int16": return extreme ? (high ? Short.MAX_VALUE : Short.MIN_VALUE) : (short) random.nextInt();
            case "int32": return extreme ? (high ? Integer.MAX_VALUE : Integer.MIN_VALUE) : random.nextInt();
            case "int64":
                if (extreme) return high ? Long.MAX_VALUE : Long.MIN_VALUE;
                return random.nextInt(3) == 0 ? (long) random.nextInt(1000) - 500 : random.nextLong() % EXACT;
            case "string": return text(random);
            case "uuid": return new Uuid(random.nextLong(), random.nextLong());
            case "bytes": return text(random).getBytes(StandardCharsets.UTF_8);
            case "records":
                if (extreme) return MemoryRecords.EMPTY;
                return MemoryRecords.withRecords(random.nextInt(1000), Compression.NONE, new SimpleRecord(1_700_000_000_000L, text(random).getBytes(StandardCharsets.UTF_8)));
            default:
        }
        if (type.startsWith("[]")) {
            Collection<Object> values = target.isInterface() ? new ArrayList<>() : (Collection<Object>) target.getDeclaredConstructor().newInstance();
            int count = extreme || mode.equals("null") ? 1 : mode.equals("more") || mode.equals("full") ? 2 : random.nextInt(2) + (field.has("fields") ? 0 : random.nextInt(4));
            for (int index = 0; index < count; index++) values.add(value(field, type.substring(2), root, null, version, mode, random));
            return values;
        }
        Object struct = Class.forName(root.getName() + "$" + type).getDeclaredConstructor().newInstance();
        fill(struct, root, field.get("fields"), version, mode, random);
        return struct;
    }

    /** Empty, short, beyond ASCII, and long enough for a length of two varint bytes. */
    static String text(Random random) {
        switch (random.nextInt(8)) {
            case 0: return "";
            case 1: return "\u00e9\u6f22\ud83d\ude00-" + random.nextInt(10);
            case 2: return random.nextInt(3) == 0 ? "x".repeat(126 + random.nextInt(4)) : "topic-" + random.nextInt(100);
            default: return "name." + Integer.toString(random.nextInt(), 36);
        }
    }
}
