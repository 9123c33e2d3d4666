package gatewayupstream.eureka;

import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.netflix.eureka.server.EnableEurekaServer;
import org.springframework.context.annotation.Bean;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.core.userdetails.User;
import org.springframework.security.core.userdetails.UserDetailsService;
import org.springframework.security.core.userdetails.UsernameNotFoundException;
import org.springframework.security.web.SecurityFilterChain;

/** A Eureka server that requires basic authentication. */
@SpringBootApplication
@EnableEurekaServer
public class Server {
  public static void main(String[] args) {
    SpringApplication.run(Server.class, args);
  }

  /** Spring's own users are stored with bcrypt after their first request, and each request then takes 0.1 s. */
  @Bean
  UserDetailsService users(
      @Value("${spring.security.user.name}") String name,
      @Value("${spring.security.user.password}") String password) {
    return wanted -> {
      if (!wanted.equals(name)) throw new UsernameNotFoundException(wanted);
      return User.withUsername(name).password("{noop}" + password).build();
    };
  }

  @Bean
  SecurityFilterChain authentication(HttpSecurity http) throws Exception {
    return http.csrf(csrf -> csrf.disable())
        .authorizeHttpRequests(requests -> requests.anyRequest().authenticated())
        .httpBasic(Customizer.withDefaults())
        .build();
  }
}
