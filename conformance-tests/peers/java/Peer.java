import com.launchdarkly.logging.LDLogLevel;
import com.launchdarkly.logging.Logs;
import com.launchdarkly.sdk.EvaluationDetail;
import com.launchdarkly.sdk.EvaluationReason;
import com.launchdarkly.sdk.LDUser;
import com.launchdarkly.sdk.LDValue;
import com.launchdarkly.sdk.ObjectBuilder;
import com.launchdarkly.sdk.server.Components;
import com.launchdarkly.sdk.server.LDClient;
import com.launchdarkly.sdk.server.LDConfig;
import com.launchdarkly.sdk.server.integrations.Redis;
import com.launchdarkly.sdk.server.integrations.RedisDataStoreBuilder;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;

/**
 * Runs clients of LaunchDarkly's Java SDK over its Redis store, as told on the standard input.
 * ../README.md has the protocol.
 */
public class Peer {
  private static final Map<String, LDClient> clients = new HashMap<>();

  public static void main(String[] arguments) throws IOException {
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    String versions = "SDK 5.10.0, Redis store 2.0.0";
    out.println(LDValue.buildObject().put("versions", versions).build().toJsonString());
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      LDValue answer;
      try {
        answer = answer(LDValue.parse(line));
      } catch (Exception error) {
        answer = LDValue.buildObject().put("error", error.toString()).build();
      }
      out.println(answer.toJsonString());
    }
    System.exit(0);
  }

  private static LDValue answer(LDValue request) throws IOException {
    if (!request.get("open").isNull()) {
      LDValue wanted = request.get("open");
      clients.put(wanted.get("id").stringValue(), open(wanted));
    } else if (!request.get("evaluate").isNull()) {
      return evaluate(request.get("evaluate"));
    } else {
      clients.remove(request.get("close").stringValue()).close();
    }
    return LDValue.buildObject().build();
  }

  private static LDClient open(LDValue wanted) {
    RedisDataStoreBuilder redis = Redis.dataStore()
        .uri(URI.create(wanted.get("url").stringValue()))
        .prefix(wanted.get("prefix").stringValue());
    LDConfig.Builder config = new LDConfig.Builder()
        .dataStore(Components.persistentDataStore(redis).noCaching())
        .bigSegments(Components.bigSegments(redis))
        .events(Components.noEvents())
        .diagnosticOptOut(true)
        .logging(Components.logging(Logs.basic()).level(LDLogLevel.ERROR))
        .startWait(Duration.ofSeconds(30));
    if (wanted.get("stream").isNull()) {
      config.dataSource(Components.externalUpdatesOnly());
    } else {
      URI stream = URI.create(wanted.get("stream").stringValue());
      config.serviceEndpoints(Components.serviceEndpoints().streaming(stream).polling(stream).events(stream));
    }
    return new LDClient("sdk-key", config.build());
  }

  private static LDValue evaluate(LDValue wanted) {
    LDClient client = clients.get(wanted.get("id").stringValue());
    LDUser user = new LDUser(wanted.get("user").stringValue());
    ObjectBuilder results = LDValue.buildObject();
    for (LDValue flag : wanted.get("flags").values()) {
      EvaluationDetail<LDValue> detail =
          client.jsonValueVariationDetail(flag.stringValue(), user, LDValue.ofNull());
      EvaluationReason reason = detail.getReason();
      ObjectBuilder result = LDValue.buildObject().put("value", detail.getValue());
      if (reason.getErrorKind() != null) {
        result.put("error", reason.getErrorKind().name());
      }
      if (reason.getBigSegmentsStatus() != null) {
        result.put("bigSegments", reason.getBigSegmentsStatus().name());
      }
      results.put(flag.stringValue(), result.build());
    }
    ObjectBuilder all = LDValue.buildObject();
    client.allFlagsState(user).toValuesMap().forEach(all::put);
    return LDValue.buildObject().put("results", results.build()).put("all", all.build()).build();
  }
}
