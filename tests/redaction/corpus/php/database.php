<?php

return [
    'default' => env('DB_CONNECTION', 'mysql'),
    'connections' => [
        'mysql' => [
            'url' => env('DATABASE_URL', 'mysql://wordpress:wordpress@localhost:3306/wordpress'),
            'username' => env('DB_USERNAME', 'wordpress'),
            'password' => env('DB_PASSWORD', 'wordpress'),
            'options' => [PDO::ATTR_PERSISTENT => true],
        ],
    ],
    'redis' => ['auth' => env('REDIS_PASSWORD', null), 'cookie' => 'laravel_session_development'],
    'passwords' => ['users' => ['provider' => 'users', 'table' => 'password_reset_tokens', 'expire' => 60]],
];
