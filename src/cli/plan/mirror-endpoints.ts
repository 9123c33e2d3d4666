import { isIP } from 'node:net';
import { objectKey } from '../../model/keys.ts';
import { isObject, type JsonObject, objectIn, textIn, textsIn } from '../../runtime/json.ts';
import { SERVICE_LABEL } from '../../sources/kubernetes/transform.ts';

/** Default of `--mirroring-max-endpoints-per-subset` in the source of Kubernetes 1.37. */
const MAX_ADDRESSES_PER_SUBSET = 1000;
const MIRRORED_BY = 'endpointslicemirroring-controller.k8s.io';
const MANAGED_BY_LABEL = 'endpointslice.kubernetes.io/managed-by';
const SKIP_LABEL = 'endpointslice.kubernetes.io/skip-mirror';
/** Legacy leader election stored its leader in an annotation of Endpoints, which the controller does not mirror. */
const LEADER_ANNOTATION = 'control-plane.alpha.kubernetes.io/leader';

/**
 * Adds the EndpointSlices that the EndpointSlice mirroring controller of Kubernetes would create for `endpoints` of Services
 * without a selector: one per subset and address family. They replace mirrored slices of the same Services.
 */
export function withMirrored(
  slices: readonly JsonObject[],
  endpoints: readonly JsonObject[],
  services: readonly JsonObject[],
): readonly JsonObject[] {
  const withoutSelector = new Set(services.filter(lacksSelector).map(nameKey));
  const mirrored = endpoints.filter((object) => withoutSelector.has(nameKey(object)) && isMirrored(object));
  const replaced = new Set(mirrored.map(nameKey));
  return [...slices.filter((slice) => !isReplaced(slice, replaced)), ...mirrored.flatMap(slicesOf)];
}

const VERSIONS = { IPv4: 4, IPv6: 6 } as const;

function lacksSelector(service: JsonObject): boolean {
  return !isObject(objectIn(service['spec'])['selector']);
}

function isMirrored(endpoints: JsonObject): boolean {
  const metadata = objectIn(endpoints['metadata']);
  return (
    textsIn(metadata['labels'])[SKIP_LABEL] !== 'true' &&
    textsIn(metadata['annotations'])[LEADER_ANNOTATION] === undefined
  );
}

function isReplaced(slice: JsonObject, services: ReadonlySet<string>): boolean {
  const { namespace, labels: given } = objectIn(slice['metadata']);
  const labels = textsIn(given);
  const service = objectKey(textIn(namespace), labels[SERVICE_LABEL] ?? '');
  return labels[MANAGED_BY_LABEL] === MIRRORED_BY && services.has(service);
}

function slicesOf(endpoints: JsonObject): readonly JsonObject[] {
  const { namespace, name } = objectIn(endpoints['metadata']);
  const subsets = Array.isArray(endpoints['subsets']) ? endpoints['subsets'].map(objectIn) : [];
  return subsets.flatMap((subset, index) => {
    const addresses = addressesOf(subset);
    return (['IPv4', 'IPv6'] as const).flatMap((family) => {
      const own = addresses.filter((address) => isIP(address.ip) === VERSIONS[family]);
      const sliceName = `${textIn(name)}-mirrored-${index}-${family.toLowerCase()}`;
      if (own.length === 0) return [];
      return [
        {
          apiVersion: 'discovery.k8s.io/v1',
          kind: 'EndpointSlice',
          metadata: {
            namespace,
            name: sliceName,
            uid: `${textIn(namespace)}/${sliceName}`,
            labels: { [SERVICE_LABEL]: textIn(name), [MANAGED_BY_LABEL]: MIRRORED_BY },
          },
          addressType: family,
          ports: subset['ports'] ?? [],
          endpoints: own.map(({ ip, ready }) => ({ addresses: [ip], conditions: { ready } })),
        },
      ];
    });
  });
}

interface Address {
  readonly ip: string;
  readonly ready: boolean;
}

/** Ready addresses come first, so that the limit does not remove them. */
function addressesOf({ addresses, notReadyAddresses }: JsonObject): readonly Address[] {
  return [
    ...ipsIn(addresses).map((ip) => ({ ip, ready: true })),
    ...ipsIn(notReadyAddresses).map((ip) => ({ ip, ready: false })),
  ]
    .filter(({ ip }) => isIP(ip) !== 0)
    .slice(0, MAX_ADDRESSES_PER_SUBSET);
}

function ipsIn(addresses: unknown): readonly string[] {
  return Array.isArray(addresses) ? addresses.map((address) => textIn(objectIn(address)['ip'])) : [];
}

function nameKey(object: JsonObject): string {
  const { namespace, name } = objectIn(object['metadata']);
  return objectKey(textIn(namespace), textIn(name));
}
