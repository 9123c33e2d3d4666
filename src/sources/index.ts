import { consul } from './consul/registry-type.ts';
import { etcd } from './etcd/registry-type.ts';
import { eureka } from './eureka/registry-type.ts';
import { nacos } from './nacos/registry-type.ts';
import type { RegistryType } from './registry.ts';
import { zooKeeper } from './zookeeper/registry-type.ts';

/** The built-in registry types. */
export const registryTypes: readonly RegistryType[] = [consul, nacos, eureka, etcd, zooKeeper];
