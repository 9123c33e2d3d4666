import type { Endpoint } from '../../model/endpoint.ts';
import { instanceAddress } from '../registry-source/instance-address.ts';
import type { ZooKeeperInstance } from './formats.ts';

/** An instance is ready while its node exists, unless its data says otherwise. */
export function endpointsOf(instances: readonly ZooKeeperInstance[]): readonly Endpoint[] {
  return instances.map(({ address, port, weight, metadata, state }) => ({
    ...instanceAddress(address),
    port,
    ready: state === undefined,
    serving: state === undefined,
    terminating: state === 'disabled',
    weight,
    metadata,
  }));
}
