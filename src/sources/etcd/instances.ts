import type { Endpoint } from '../../model/endpoint.ts';
import { instanceAddress } from '../registry-source/instance-address.ts';
import type { EtcdInstance } from './formats.ts';
import type { EtcdBackend } from './schema.ts';

/** The endpoints that a backend with `options` wants. An instance is ready while its key exists, unless its value says otherwise. */
export function endpointsOf(
  instances: readonly EtcdInstance[],
  options: EtcdBackend | undefined,
): readonly Endpoint[] {
  const { scheme = 'http' } = options ?? {};
  return instances.map(({ places, weight, metadata, state }) => {
    const place = places.find((one) => one.scheme === undefined || one.scheme === scheme);
    return {
      // Without a place, an address that no gateway accepts: the instance is counted as excluded.
      ...instanceAddress(place?.address ?? ''),
      port: place?.port,
      ready: state === undefined,
      serving: state === undefined,
      terminating: state === 'disabled',
      weight,
      metadata,
    } satisfies Endpoint;
  });
}
