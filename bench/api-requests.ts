import { open } from 'node:fs/promises';

/** Requests of ServiceAccounts to the API server, by verb and resource, from its audit log. */
export interface ApiRequests {
  /** The requests since the previous call, or since the start. */
  take(): Promise<Readonly<Record<string, number>>>;
}

interface AuditEntry {
  readonly stage: string;
  readonly verb: string;
  readonly objectRef?: { readonly resource?: string; readonly subresource?: string };
}

export function apiRequestsIn(auditLog: string): ApiRequests {
  let position = 0;
  return {
    async take() {
      const counts: Record<string, number> = {};
      await using file = await open(auditLog, 'r');
      // An incomplete last line belongs to the next call.
      let rest = '';
      for await (const chunk of file.createReadStream({ start: position, autoClose: false })) {
        const lines = (rest + (chunk as Buffer).toString('latin1')).split('\n');
        position += (chunk as Buffer).length;
        rest = lines.pop() ?? '';
        for (const line of lines) count(line, counts);
      }
      position -= rest.length;
      return counts;
    },
  };
}

function count(line: string, counts: Record<string, number>): void {
  const { stage, verb, objectRef } = JSON.parse(line) as AuditEntry;
  // The audit log has two entries for a watch: at its start and at its end.
  if (stage !== (verb === 'watch' ? 'ResponseStarted' : 'ResponseComplete')) return;
  const { resource = 'other', subresource } = objectRef ?? {};
  const kind = `${verb} ${resource}${subresource === undefined ? '' : `/${subresource}`}`;
  counts[kind] = (counts[kind] ?? 0) + 1;
}
