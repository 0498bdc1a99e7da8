-- What an order's products were called on the day: an invoice doesn't change when
-- a product is renamed.
-- +goose Up
ALTER TABLE order_items ADD COLUMN sku text, ADD COLUMN name text;
UPDATE order_items i SET sku = p.sku, name = p.name FROM products p WHERE p.id = i.product_id;
ALTER TABLE order_items ALTER COLUMN sku SET NOT NULL, ALTER COLUMN name SET NOT NULL;

-- +goose Down
ALTER TABLE order_items DROP COLUMN sku, DROP COLUMN name;
