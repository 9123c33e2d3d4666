import { confirmedVerdict } from '../../decide/confirmation.ts';
import type { DataPlanesOfConnection } from '../../decide/data-planes.ts';
import type { UpstreamId } from '../../model/upstream.ts';
import type { Verdict } from '../../model/verdict.ts';
import type { ConnectionState } from '../connection/connections.ts';

/** What Programmed says once the gateway of a connection has confirmed, or rejected, what was `written` as `id`. */
export function confirmedBy(state: ConnectionState, id: UpstreamId, written: Verdict): Verdict {
  return state.kind === 'usable' ? confirmedVerdict(written, state.session.confirmation(id)) : written;
}

/** Data planes that fetch their configuration are known as long as they are connected. */
export function connectedPlanes(state: ConnectionState): DataPlanesOfConnection | undefined {
  const connected = state.kind === 'usable' ? state.session.connectedDataPlanes : undefined;
  return connected && { total: connected.length, reachable: connected.length };
}
