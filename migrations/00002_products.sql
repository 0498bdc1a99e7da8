-- Products, with twelve samples.
-- +goose Up
CREATE TABLE products (
    id             text PRIMARY KEY,
    sku            text NOT NULL UNIQUE,
    name           text NOT NULL,
    description    text NOT NULL DEFAULT '',
    price_amount   bigint NOT NULL CHECK (price_amount >= 0), -- minor units
    price_currency text NOT NULL CHECK (price_currency ~ '^[A-Z]{3}$'),
    stock          bigint NOT NULL CHECK (stock >= 0),
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);

INSERT INTO products (id, sku, name, description, price_amount, price_currency, stock) VALUES
('prd_02hq7mxa4k', 'COF-ETH-250', 'Ethiopia Yirgacheffe, 250 g', 'Whole beans, washed, light roast: bergamot, jasmine, lemon.', 1190, 'EUR', 1000),
('prd_05tz1kwn8r', 'COF-BRA-1000', 'Brazil Cerrado, 1 kg', 'Whole beans, natural, medium roast: hazelnut and milk chocolate. Good for espresso.', 2890, 'EUR', 1000),
('prd_0dv6ycp2eh', 'COF-COL-DEC-250', 'Colombia Huila decaf, 250 g', 'Whole beans, decaffeinated with sugar-cane ethyl acetate: caramel, red apple.', 1290, 'EUR', 1000),
('prd_0gj3rbs7uf', 'GRN-HAND-30', 'Hand grinder, 30 g', 'Steel conical burrs of 38 mm, stepped adjustment, folding crank.', 8900, 'EUR', 1000),
('prd_0kx8nqe5wd', 'DRP-CER-02', 'Ceramic dripper, size 02', 'White porcelain cone with spiral ribs, for one to four cups.', 2450, 'EUR', 1000),
('prd_0p4fmzh9ta', 'FLT-PAP-02-100', 'Paper filters, size 02, 100 pieces', 'Bleached without chlorine, tab for lifting.', 690, 'EUR', 1000),
('prd_0s2wvjk6gy', 'KTL-GSN-900', 'Gooseneck kettle, 0.9 l', 'Stainless steel, electric, holds a temperature between 40 and 100 °C for an hour.', 11900, 'EUR', 1000),
('prd_0u7chxr3nb', 'SCL-TIM-2000', 'Brewing scale with timer', 'Up to 2 kg in steps of 0.1 g, charged by USB-C, splash-proof.', 4990, 'EUR', 1000),
('prd_0w9ektd1qm', 'PRS-FRN-1000', 'French press, 1 l', 'Double-walled steel, stays warm for an hour, dishwasher-safe.', 3990, 'EUR', 1000),
('prd_0y5apuf8zs', 'CUP-ESP-2', 'Espresso cups, set of two', 'Porcelain, 80 ml, with saucers.', 1999, 'EUR', 1000),
('prd_11b6gwc4vj', 'MLK-PIT-600', 'Milk pitcher, 0.6 l', 'Stainless steel with a narrow spout for pouring latte art.', 1890, 'EUR', 1000),
('prd_13r8dyn2xo', 'CLN-TAB-10', 'Cleaning tablets, 10 pieces', 'For the brew group of espresso machines; phosphate-free.', 990, 'EUR', 1000);

-- +goose Down
DROP TABLE products;
