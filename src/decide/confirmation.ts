import type { Confirmation } from '../model/confirmation.ts';
import type { Verdict } from '../model/verdict.ts';

/** `Programmed` after a successful write, or if nothing had to be written, with the gateway's confirmation. */
export function confirmedVerdict(programmed: Verdict, confirmation: Confirmation): Verdict {
  if (programmed.status !== 'True') return programmed;
  switch (confirmation.state) {
    case 'confirmed':
      return programmed;
    case 'pending':
      return {
        status: 'Unknown',
        reason: 'Pending',
        message: `Waiting for the gateway to confirm this configuration: ${confirmation.message}`,
      };
    case 'rejected':
      return {
        status: 'False',
        reason: 'Rejected',
        message: `The gateway rejected this configuration, and the last accepted configuration stays in force: ${confirmation.message}`,
      };
    default:
      return confirmation satisfies never;
  }
}
