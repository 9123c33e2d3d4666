package gatewayupstream.zookeeper;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/** Prints all nodes except those of ZooKeeper itself. */
public class Tree {
  public static void main(String[] arguments) throws Exception {
    List<Map<String, Object>> nodes = new ArrayList<>();
    try (ZooKeeper zookeeper = new ZooKeeper(arguments[0], 10_000, event -> {})) {
      read(zookeeper, "/", nodes);
    }
    System.out.println(new ObjectMapper().writeValueAsString(nodes));
  }

  private static void read(ZooKeeper zookeeper, String path, List<Map<String, Object>> nodes) throws Exception {
    for (String name : zookeeper.getChildren(path, false).stream().sorted().toList()) {
      String child = path.equals("/") ? "/" + name : path + "/" + name;
      if (child.equals("/zookeeper")) continue;
      Stat stat = new Stat();
      byte[] data = zookeeper.getData(child, false, stat);
      Map<String, Object> node = new LinkedHashMap<>();
      node.put("path", child);
      // A node without data is not the same as one with an empty text.
      node.put("data", data == null ? null : new String(data, StandardCharsets.UTF_8));
      node.put("ephemeral", stat.getEphemeralOwner() != 0);
      nodes.add(node);
      read(zookeeper, child, nodes);
    }
  }
}
