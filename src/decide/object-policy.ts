import type { GatewayUpstream } from '../model/objects.ts';
import { type HostPolicy, hostPolicy } from './host-policy.ts';
import type { Snapshot } from './snapshot.ts';

/** The addresses that the connection of an object allows; undefined if it cannot be read. */
export function policyOf(
  { connections }: Pick<Snapshot, 'connections'>,
  { connection }: Pick<GatewayUpstream, 'connection'>,
): HostPolicy | undefined {
  const spec = connections.get('', connection)?.spec;
  return spec?.ok === true ? hostPolicy(spec.value) : undefined;
}
