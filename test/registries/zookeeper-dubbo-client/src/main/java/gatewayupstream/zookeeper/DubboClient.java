package gatewayupstream.zookeeper;

import com.example.OrderService;
import java.net.ServerSocket;
import java.util.List;
import java.util.Map;
import org.apache.dubbo.common.URL;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.MetadataReportConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;
import org.apache.dubbo.registry.Registry;
import org.apache.dubbo.registry.RegistryFactory;
import org.apache.dubbo.rpc.model.FrameworkModel;

/**
 * Starts applications with Dubbo, which register their services by interface, by application, or both. After the first line of
 * its input, the first one is shut down.
 */
public class DubboClient {
  private static final OrderService IMPLEMENTATION = id -> id;

  private final String server;

  private DubboClient(String server) {
    this.server = server;
  }

  public static void main(String[] arguments) throws Exception {
    // Dubbo rejects 127.0.0.1, and listens on all addresses otherwise.
    System.setProperty("DUBBO_IP_TO_BIND", "::ffff:127.0.0.1");
    DubboClient client = new DubboClient(arguments[0]);
    // The default of Dubbo 3.
    DubboBootstrap first =
        client.start("orders", "all", "198.51.100.1", List.of(service(Map.of("weight", "20", "zone", "a"))));
    client.start("orders", "all", "2001:db8::2", List.of(service(Map.of())));
    ServiceConfig<OrderService> versioned = service(Map.of());
    versioned.setGroup("shop");
    versioned.setVersion("2.0.0");
    ServiceConfig<OrderService> deprecated = service(Map.of());
    deprecated.setVersion("1.0.0");
    deprecated.setDeprecated(true);
    ServiceConfig<OrderService> disabled = service(Map.of("disabled", "true"));
    disabled.setVersion("3.0.0");
    client.start(
        "orders-by-interface",
        "interface",
        "198.51.100.3",
        List.of(service(Map.of()), versioned, deprecated, disabled));
    client.start("orders-canary", "instance", "198.51.100.4", List.of(service(Map.of("weight", "5"))));
    client.disable("198.51.100.3:20880");
    System.out.println("registered");
    System.in.read();
    first.stop();
    System.out.println("deregistered");
    System.in.read();
    System.exit(0);
  }

  private static ServiceConfig<OrderService> service(Map<String, String> parameters) {
    ServiceConfig<OrderService> service = new ServiceConfig<>();
    service.setInterface(OrderService.class);
    service.setRef(IMPLEMENTATION);
    service.setParameters(parameters);
    return service;
  }

  /** Says that the application listens at `host`, with Dubbo's two protocols. */
  private DubboBootstrap start(
      String name, String registerMode, String host, List<ServiceConfig<OrderService>> services) throws Exception {
    System.setProperty("DUBBO_DUBBO_IP_TO_REGISTRY", host);
    System.setProperty("DUBBO_DUBBO_PORT_TO_REGISTRY", "20880");
    System.setProperty("TRI_DUBBO_IP_TO_REGISTRY", host);
    System.setProperty("TRI_DUBBO_PORT_TO_REGISTRY", "50051");
    ApplicationConfig application = new ApplicationConfig(name);
    application.setQosEnable(false);
    application.setRegisterMode(registerMode);
    application.setParameters(Map.of("zone", "a"));
    MetadataReportConfig metadata = new MetadataReportConfig("zookeeper://" + server);
    // Definitions of interfaces contain paths of this machine.
    metadata.setReportDefinition(false);
    DubboBootstrap bootstrap =
        DubboBootstrap.newInstance(new FrameworkModel())
            .application(application)
            .registry(new RegistryConfig("zookeeper://" + server))
            .metadataReport(metadata)
            .protocols(List.of(protocol("dubbo"), protocol("tri")));
    services.forEach(bootstrap::service);
    return bootstrap.start();
  }

  private static ProtocolConfig protocol(String name) throws Exception {
    try (ServerSocket free = new ServerSocket(0)) {
      return new ProtocolConfig(name, free.getLocalPort());
    }
  }

  /** What Dubbo Admin 2 writes when someone disables a provider. */
  private void disable(String address) {
    Registry registry =
        FrameworkModel.defaultModel()
            .defaultApplication()
            .getExtensionLoader(RegistryFactory.class)
            .getAdaptiveExtension()
            .getRegistry(URL.valueOf("zookeeper://" + server));
    registry.register(
        URL.valueOf(
            "override://%s/%s?category=configurators&dynamic=false&enabled=true&disabled=true"
                .formatted(address, OrderService.class.getName())));
  }
}
