package gatewayupstream.nacos;

import com.alipay.sofa.jraft.rpc.RpcServer;
import com.alipay.sofa.jraft.rpc.impl.GrpcRaftRpcFactory;
import com.alipay.sofa.jraft.rpc.impl.GrpcServer;
import com.alipay.sofa.jraft.util.Endpoint;
import com.alipay.sofa.jraft.util.SPI;
import com.google.protobuf.Message;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.util.MutableHandlerRegistry;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.HashMap;
import java.util.Map;

/** Makes Nacos' consensus protocol listen on loopback; its own factory listens on every address. */
@SPI(name = "loopback", priority = 100)
public final class LoopbackRaft extends GrpcRaftRpcFactory {
  private final Map<String, Message> messages = new HashMap<>();

  @Override
  public void registerProtobufSerializer(String className, Object... args) {
    super.registerProtobufSerializer(className, args);
    messages.put(className, (Message) args[0]);
  }

  @Override
  public RpcServer createRpcServer(Endpoint endpoint, ConfigHelper<RpcServer> helper) {
    var handlers = new MutableHandlerRegistry();
    var address = new InetSocketAddress(InetAddress.getLoopbackAddress(), endpoint.getPort());
    var netty =
        NettyServerBuilder.forAddress(address)
            .fallbackHandlerRegistry(handlers)
            .directExecutor()
            .build();
    var server = new GrpcServer(netty, handlers, messages, getMarshallerRegistry());
    if (helper != null) {
      helper.config(server);
    }
    return server;
  }
}
