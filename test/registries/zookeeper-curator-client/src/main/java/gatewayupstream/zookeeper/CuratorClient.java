package gatewayupstream.zookeeper;

import java.util.List;
import java.util.Map;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.RetryOneTime;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.curator.x.discovery.ServiceInstanceBuilder;
import org.apache.curator.x.discovery.ServiceType;
import org.apache.curator.x.discovery.UriSpec;
import org.apache.curator.x.discovery.details.JsonInstanceSerializer;

/** Registers instances with Curator's service discovery. After the first line of its input, it deregisters one. */
public class CuratorClient {
  public static void main(String[] arguments) throws Exception {
    try (CuratorFramework curator = CuratorFrameworkFactory.newClient(arguments[0], new RetryOneTime(1000))) {
      curator.start();
      // The type of the payload is up to the application.
      ServiceDiscovery<Object> discovery =
          ServiceDiscoveryBuilder.builder(Object.class).client(curator).basePath("/services").build();
      discovery.start();
      ServiceInstance<Object> first =
          instance("orders", "orders-1", "198.51.100.1")
              .port(8080)
              .sslPort(8443)
              .payload(Map.of("version", "2", "zone", "a", "weight", 20))
              .build();
      List<ServiceInstance<Object>> instances =
          List.of(
              first,
              instance("orders", "orders-2", "2001:db8::1").port(8080).build(),
              instance("orders", "orders-disabled-silently", "198.51.100.12").port(8080).enabled(false).build(),
              instance("orders", "orders-static", "198.51.100.4")
                  .port(8080)
                  .serviceType(ServiceType.STATIC)
                  .payload("a text")
                  .build(),
              instance("orders", "orders-permanent", "orders.example.com")
                  .port(8080)
                  .serviceType(ServiceType.PERMANENT)
                  .uriSpec(new UriSpec("{scheme}://{address}:{port}"))
                  .build(),
              instance("orders", "orders-secure", "198.51.100.6").sslPort(8443).build(),
              instance("orders", "orders-portless", "198.51.100.7").build(),
              instance("orders-canary", "orders-canary-1", "198.51.100.8").port(8080).build(),
              instance("com.example.orders", "dotted-1", "198.51.100.9").port(8080).build(),
              instance("orders/nested", "nested-1", "198.51.100.10").port(8080).build());
      for (ServiceInstance<Object> instance : instances) discovery.registerService(instance);
      // Without this serializer, Curator does not write the field "enabled".
      ServiceDiscovery<Object> complete =
          ServiceDiscoveryBuilder.builder(Object.class)
              .client(curator)
              .basePath("/services")
              .serializer(new JsonInstanceSerializer<>(Object.class, false))
              .build();
      complete.start();
      complete.registerService(instance("orders", "orders-enabled", "198.51.100.11").port(8080).build());
      complete.registerService(
          instance("orders", "orders-disabled", "198.51.100.3").port(8080).enabled(false).build());
      System.out.println("registered");
      System.in.read();
      discovery.unregisterService(first);
      System.out.println("deregistered");
      System.in.read();
      complete.close();
      discovery.close();
    }
  }

  private static ServiceInstanceBuilder<Object> instance(String name, String id, String address) throws Exception {
    return ServiceInstance.builder().name(name).id(id).address(address);
  }
}
