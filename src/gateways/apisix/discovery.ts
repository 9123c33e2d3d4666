import { isObject, type JsonObject, objectIn } from '../../runtime/json.ts';
import type { RegistryService } from '../driver.ts';

const DEFAULT_NAMESPACE_ID = 'public';
const DEFAULT_GROUP = 'DEFAULT_GROUP';

/** The types of discovery for which the operator has a kind of backend. */
const REGISTRIES: Readonly<Record<string, (value: JsonObject, service: string) => RegistryService>> = {
  consul: consulService,
  eureka: eurekaService,
  nacos: nacosService,
};

/** Whether backends can replace the discovery of the gateway, by `discovery_type`. */
export function discoveredBy(type: unknown): 'Kubernetes' | 'Registry' | 'other' {
  if (type === 'kubernetes') return 'Kubernetes';
  return typeof type === 'string' && Object.hasOwn(REGISTRIES, type) ? 'Registry' : 'other';
}

/** The service of a registry that the gateway discovers itself. Undefined if it uses another discovery or none. */
export function registryServiceOf(value: JsonObject): RegistryService | undefined {
  const { discovery_type: type, service_name: service } = value;
  if (typeof type !== 'string' || typeof service !== 'string' || !Object.hasOwn(REGISTRIES, type))
    return undefined;
  return REGISTRIES[type]?.(value, service);
}

/** Facts of apisix/discovery/consul of APISIX 3.18. */
function consulService({ discovery_args: args }: JsonObject, service: string): RegistryService {
  const [, id, name] = /^([^/]*)\/(.*)$/.exec(service) ?? [];
  return {
    type: 'Consul',
    scope: {},
    service: name ?? service,
    // APISIX ignores the weights that Consul has.
    backend: { weights: 'Equal' },
    notes: [
      'APISIX ignores the weights in Consul, so weights is Equal. Remove it to use them',
      ...(id === undefined
        ? []
        : [
            `service_name names the service ${name} of registry ${id}: check that registryRef refers to that registry`,
          ]),
      ...ignoredArguments('Consul', Object.keys(objectIn(args))),
    ],
  };
}

/** Facts of apisix/discovery/eureka of APISIX 3.18. */
function eurekaService({ discovery_args: args }: JsonObject, service: string): RegistryService {
  return {
    type: 'Eureka',
    scope: {},
    service,
    backend: {},
    notes: [
      'If an instance has enabled both ports, APISIX uses the secure port. To do so, set eureka: {port: Secure} in the backend',
      ...ignoredArguments('Eureka', Object.keys(objectIn(args))),
    ],
  };
}

/** Facts of apisix/discovery/nacos of APISIX 3.18. */
function nacosService({ discovery_args: given, scheme }: JsonObject, service: string): RegistryService {
  const args = isObject(given) ? given : {};
  const {
    namespace_id: namespaceId = DEFAULT_NAMESPACE_ID,
    group_name: group = DEFAULT_GROUP,
    ...others
  } = args;
  return {
    type: 'Nacos',
    scope: { namespaceId: String(namespaceId) },
    service,
    backend: group === DEFAULT_GROUP ? {} : { nacos: { group } },
    notes: [
      ...(scheme === 'grpc' || scheme === 'grpcs'
        ? [
            'APISIX uses the port in the metadata gRPC_port of the instances that have it. If all of them have it, add portFrom: {metadata: gRPC_port} to the backend',
          ]
        : []),
      ...ignoredArguments('Nacos', Object.keys(others)),
    ],
  };
}

function ignoredArguments(type: string, names: readonly string[]): readonly string[] {
  if (names.length === 0) return [];
  return [
    `APISIX ignores these discovery_args for ${type}: ${names.toSorted().join(', ')}. To filter instances, set metadata in the backend`,
  ];
}
