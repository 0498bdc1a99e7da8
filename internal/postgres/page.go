package postgres

import (
	"github.com/jackc/pgx/v5"

	"ratelimiter/models"
)

// maxPageBytes bounds the rows of a page, as Postgres sends them. It is above
// 100 rows of usual size, and far below 100 of the largest: 12 MB of audit
// entries.
const maxPageBytes = 256 << 10

// CollectPage reads a page of up to limit rows and closes rows, which hold one
// more if there is a next page. The page ends early before the row that exceeds
// maxPageBytes, unless that is its first. Errors are classified as those of
// operation.
func CollectPage[T any](operation string, rows pgx.Rows, limit int, scan pgx.RowToFunc[T], position func(T) models.Position) (models.Page[T], error) {
	defer rows.Close()
	var page models.Page[T]
	size := 0
	for rows.Next() {
		for _, value := range rows.RawValues() {
			size += len(value)
		}
		if n := len(page.Data); n == limit || (n > 0 && size > maxPageBytes) {
			next := position(page.Data[n-1])
			page.Next = &next
			rows.Close()
			break
		}
		row, err := scan(rows)
		if err != nil {
			return models.Page[T]{}, Classify(operation, err)
		}
		page.Data = append(page.Data, row)
	}
	if err := rows.Err(); err != nil {
		return models.Page[T]{}, Classify(operation, err)
	}
	return page, nil
}
