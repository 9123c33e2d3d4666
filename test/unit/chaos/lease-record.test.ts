import { describe, expect, it } from 'vitest';
import { LeaseRecord } from '../../../chaos/lease-record.ts';

const LEASES = '/apis/coordination.k8s.io/v1/namespaces/operator/leases';

/** The writes outside a Lease of 5 s. Each line starts with the name of its operator. */
function outside(...lines: readonly string[]): readonly string[] {
  const record = new LeaseRecord(5000);
  for (const line of lines) {
    const [operator = ''] = line.split(' ', 1);
    expect(record.take(operator, line.slice(operator.length + 1)), line).toBe(true);
  }
  return record.outside().map(({ operator, method, path, at }) => `${operator} ${method} ${path} ${at}`);
}

describe('LeaseRecord', () => {
  it.each<[string, readonly string[], readonly string[]]>([
    ['a write within the Lease', [`a answered POST ${LEASES} 1000 201`, 'a sent PUT /x 5999'], []],
    [
      'a write when the Lease expires',
      [`a answered PUT ${LEASES}/l 1000 200`, 'a sent PUT /x 6000'],
      ['a PUT /x 6000'],
    ],
    ['a write without a Lease', ['a sent DELETE /x 10'], ['a DELETE /x 10']],
    [
      'a write after a failed renewal',
      [`a answered PUT ${LEASES}/l 10 409`, 'a sent PUT /x 11'],
      ['a PUT /x 11'],
    ],
    [
      'a write while another operator holds the Lease',
      [
        `a answered PUT ${LEASES}/l 1000 200`,
        `b answered PUT ${LEASES}/l 2000 200`,
        'a sent PATCH /x 2500',
        'b sent PATCH /x 2500',
      ],
      ['a PATCH /x 2500'],
    ],
    [
      'a write before another operator acquired the Lease, recorded later',
      [`b answered PUT ${LEASES}/l 9000 200`, `a answered PUT ${LEASES}/l 1000 200`, 'a sent PUT /x 2000'],
      [],
    ],
    [
      'reads and permission reviews',
      ['a sent GET /x 10', 'a sent POST /apis/x/selfsubjectaccessreviews 10'],
      [],
    ],
  ])('checks %s', (_, lines, expected) => {
    expect(outside(...lines)).toEqual(expected);
  });

  it('keeps the last renewal for later writes', () => {
    const record = new LeaseRecord(5000);
    record.take('a', `answered PUT ${LEASES}/l 1000 200`);
    expect(record.outside()).toEqual([]);
    record.take('a', 'sent PUT /x 3000');
    record.take('a', 'sent PUT /x 7000');
    expect(record.outside().map(({ at }) => at)).toEqual([7000]);
    expect(record.pending).toBe(0);
  });

  it('ignores other log lines', () => {
    expect(new LeaseRecord(5000).take('a', '{"level":"info"}')).toBe(false);
  });
});
