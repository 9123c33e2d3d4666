package gatewayupstream.nacos;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

/** An application that registers itself with Spring Cloud Alibaba. */
@SpringBootApplication
public class SpringClient {
  public static void main(String[] args) {
    SpringApplication.run(SpringClient.class, args);
  }
}
