import { confirmedVerdict } from '../../decide/confirmation.ts';
import type { DataPlanesOfConnection } from '../../decide/data-planes.ts';
import type { UpstreamId } from '../../model/upstream.ts';
import type { Verdict } from '../../model/verdict.ts';
import type { ConnectionState } from '../connection/connections.ts';

/** The Programmed verdict: `written`, adjusted by the confirmation or rejection of the data planes. */
export function confirmedBy(state: ConnectionState, id: UpstreamId, written: Verdict): Verdict {
  return state.kind === 'usable' ? confirmedVerdict(written, state.session.confirmation(id)) : written;
}

/** For gateways whose data planes fetch their configuration: the connected data planes. */
export function connectedPlanes(state: ConnectionState): DataPlanesOfConnection | undefined {
  const connected = state.kind === 'usable' ? state.session.connectedDataPlanes : undefined;
  return connected && { total: connected.length, reachable: connected.length };
}
