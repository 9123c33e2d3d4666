package gatewayupstream.zookeeper;

import java.util.stream.Stream;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.ConfigurableApplicationContext;

/**
 * Starts applications with Spring Cloud ZooKeeper, which register themselves. After the first line of its input, the first one
 * is shut down.
 */
@SpringBootApplication
public class SpringClient {
  public static void main(String[] arguments) throws Exception {
    ConfigurableApplicationContext first =
        start(
            arguments[0],
            "--spring.application.name=orders",
            "--spring.cloud.zookeeper.discovery.instance-id=orders-1",
            "--spring.cloud.zookeeper.discovery.instance-host=198.51.100.1",
            "--spring.cloud.zookeeper.discovery.metadata.version=2",
            "--spring.cloud.zookeeper.discovery.metadata.weight=20");
    start(
        arguments[0],
        "--spring.application.name=orders",
        "--spring.cloud.zookeeper.discovery.instance-id=orders-2",
        "--spring.cloud.zookeeper.discovery.instance-host=2001:db8::1",
        "--spring.cloud.zookeeper.discovery.instance-ssl-port=8443");
    start(
        arguments[0],
        "--spring.application.name=orders",
        "--spring.cloud.zookeeper.discovery.instance-id=orders-3",
        "--spring.cloud.zookeeper.discovery.instance-host=orders.example.com",
        "--spring.cloud.zookeeper.discovery.initial-status=OUT_OF_SERVICE");
    start(
        arguments[0],
        "--spring.application.name=orders-canary",
        "--spring.cloud.zookeeper.discovery.instance-host=198.51.100.4");
    System.out.println("registered");
    System.in.read();
    first.close();
    System.out.println("deregistered");
    System.in.read();
    System.exit(0);
  }

  private static ConfigurableApplicationContext start(String server, String... settings) {
    Stream<String> common =
        Stream.of(
            "--server.address=127.0.0.1",
            "--server.port=0",
            "--spring.main.banner-mode=off",
            "--logging.level.root=warn",
            "--spring.cloud.zookeeper.connect-string=" + server,
            "--spring.cloud.zookeeper.discovery.instance-port=8080");
    return SpringApplication.run(SpringClient.class, Stream.concat(common, Stream.of(settings)).toArray(String[]::new));
  }
}
