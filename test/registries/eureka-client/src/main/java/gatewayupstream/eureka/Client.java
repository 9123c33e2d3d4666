package gatewayupstream.eureka;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

/** Registers itself with Eureka, as every Spring Boot application with this starter does. */
@SpringBootApplication
public class Client {
  public static void main(String[] arguments) {
    SpringApplication.run(Client.class, arguments);
  }
}
