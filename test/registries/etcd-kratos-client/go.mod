module gatewayupstream.dev/etcd-kratos-client

go 1.26
