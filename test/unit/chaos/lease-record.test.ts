import { describe, expect, it } from 'vitest';
import { LeaseRecord } from '../../../chaos/lease-record.ts';

const LEASES = '/apis/coordination.k8s.io/v1/namespaces/operator/leases';

/** The writes outside a lease of 5 s, by `operator line` of several operators. */
function outside(...lines: readonly string[]): readonly string[] {
  const record = new LeaseRecord(5000);
  for (const line of lines) {
    const [operator = ''] = line.split(' ', 1);
    expect(record.take(operator, line.slice(operator.length + 1)), line).toBe(true);
  }
  return record.outside().map(({ operator, method, path, at }) => `${operator} ${method} ${path} ${at}`);
}

describe('the record of leases', () => {
  it.each<[string, readonly string[], readonly string[]]>([
    ['within the lease', [`a answered POST ${LEASES} 1000 201`, 'a sent PUT /x 5999'], []],
    ['at its end', [`a answered PUT ${LEASES}/l 1000 200`, 'a sent PUT /x 6000'], ['a PUT /x 6000']],
    ['without any', ['a sent DELETE /x 10'], ['a DELETE /x 10']],
    [
      'after a renewal that failed',
      [`a answered PUT ${LEASES}/l 10 409`, 'a sent PUT /x 11'],
      ['a PUT /x 11'],
    ],
    [
      "under another one's lease",
      [
        `a answered PUT ${LEASES}/l 1000 200`,
        `b answered PUT ${LEASES}/l 2000 200`,
        'a sent PATCH /x 2500',
        'b sent PATCH /x 2500',
      ],
      ['a PATCH /x 2500'],
    ],
    [
      'before another one took it, in a record that came in later',
      [`b answered PUT ${LEASES}/l 9000 200`, `a answered PUT ${LEASES}/l 1000 200`, 'a sent PUT /x 2000'],
      [],
    ],
    [
      'what reads, or asks for rights',
      ['a sent GET /x 10', 'a sent POST /apis/x/selfsubjectaccessreviews 10'],
      [],
    ],
  ])('%s', (_, lines, expected) => {
    expect(outside(...lines)).toEqual(expected);
  });

  it('remembers the last renewal for what comes after it was judged', () => {
    const record = new LeaseRecord(5000);
    record.take('a', `answered PUT ${LEASES}/l 1000 200`);
    expect(record.outside()).toEqual([]);
    record.take('a', 'sent PUT /x 3000');
    record.take('a', 'sent PUT /x 7000');
    expect(record.outside().map(({ at }) => at)).toEqual([7000]);
    expect(record.pending).toBe(0);
  });

  it('takes nothing else for a request', () => {
    expect(new LeaseRecord(5000).take('a', '{"level":"info"}')).toBe(false);
  });
});
