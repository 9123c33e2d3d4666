package gatewayupstream.nacos;

import com.alibaba.nacos.api.NacosFactory;
import com.alibaba.nacos.api.PropertyKeyConst;
import com.alibaba.nacos.api.naming.NamingService;
import com.alibaba.nacos.api.naming.pojo.Instance;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;

/**
 * Registers instances with Nacos' own client. They stay until the program is stopped. Arguments: address of the server, user
 * name, password.
 */
public final class JavaClient {
  private JavaClient() {}

  public static void main(String[] args) throws Exception {
    var properties = new Properties();
    properties.setProperty(PropertyKeyConst.SERVER_ADDR, args[0]);
    properties.setProperty(PropertyKeyConst.USERNAME, args[1]);
    properties.setProperty(PropertyKeyConst.PASSWORD, args[2]);
    NamingService naming = NacosFactory.createNamingService(properties);
    var canary = instance("198.51.100.1", 8080);
    canary.setMetadata(Map.of("version", "2", "zone", "a", "metrics.port", "9100"));
    var light = instance("198.51.100.2", 8080);
    light.setWeight(0.3);
    var disabled = instance("198.51.100.3", 8080);
    disabled.setEnabled(false);
    var unhealthy = instance("198.51.100.4", 8080);
    unhealthy.setHealthy(false);
    var elsewhere = instance("198.51.100.5", 8080);
    elsewhere.setClusterName("HZ");
    var noTraffic = instance("198.51.100.6", 8080);
    noTraffic.setWeight(0);
    // A client has one instance of a service, or one batch.
    naming.batchRegisterInstance(
        "orders",
        "DEFAULT_GROUP",
        List.of(canary, light, disabled, unhealthy, elsewhere, noTraffic));
    naming.batchRegisterInstance(
        "two-ports",
        "DEFAULT_GROUP",
        List.of(instance("198.51.100.20", 8080), instance("198.51.100.20", 8081)));
    naming.registerInstance("grouped", "payments", instance("198.51.100.30", 8080));
    naming.registerInstance("ipv6", instance("2001:db8:0:0:0:0:0:1", 8080));
    naming.registerInstance("named", instance("app-1.example.com", 8080));
    naming.registerInstance("portless", instance("198.51.100.40", 0));
    naming.registerInstance("protected", instance("198.51.100.50", 8080));
    for (var ip : List.of("198.51.100.60", "198.51.100.61")) {
      var persistent = instance(ip, 8080);
      persistent.setEphemeral(false);
      naming.registerInstance("persistent", persistent);
    }
    naming.registerInstance("left", instance("198.51.100.70", 8080));
    naming.deregisterInstance("left", instance("198.51.100.70", 8080));
    // Ephemeral instances live as long as the connection of their client.
    new CountDownLatch(1).await();
  }

  private static Instance instance(String ip, int port) {
    var instance = new Instance();
    instance.setIp(ip);
    instance.setPort(port);
    return instance;
  }
}
