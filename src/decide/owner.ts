import type { GatewayUpstream } from '../model/objects.ts';
import type { Owner } from './ownership.ts';

export function ownerOf(
  clusterId: string,
  { connection, namespace, name }: Pick<GatewayUpstream, 'connection' | 'namespace' | 'name'>,
): Owner {
  return { cluster: clusterId, connection, namespace, name };
}

/** The `create_time` of the upstream in the object's status, in seconds. */
export function createTimeSeconds(object: GatewayUpstream): number | undefined {
  const text = object.status?.upstreamCreateTime;
  return text === undefined ? undefined : Date.parse(text) / 1000;
}
